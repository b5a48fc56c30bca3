"""The filters of a curation in their order, over a batch of texts: what is left of each, or why it is rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from exnihilo.corpus.c4 import c4_quality
from exnihilo.corpus.checks import Check, first_rejection
from exnihilo.corpus.filters import general_checks
from exnihilo.corpus.fineweb import fineweb_quality
from exnihilo.corpus.gopher import gopher_quality, gopher_repetition
from exnihilo.corpus.judge_config import JudgeConfig
from exnihilo.corpus.text_batch import Bools, Int64, TextBatch


@dataclass(frozen=True)
class Verdict:
    """Why a text was rejected.

    Attributes:
        reason: as reports tell it.
        value, limit: what was measured, and the limit that it is beyond.
    """

    reason: str
    value: float
    limit: float


@dataclass
class Judged:
    """What filters made of a batch.

    Attributes:
        texts: each as it is left; of a rejected one, nothing that can be relied on.
        verdicts: None for a text that stays.
        lines: lines taken out of texts that stayed up to that filter, by reason.
    """

    texts: list[str]
    verdicts: list[Verdict | None]
    lines: Counter[str] = field(default_factory=Counter)


def judge(texts: Sequence[str], config: JudgeConfig) -> Judged:
    """Apply each filter to what those before it have left. The result of a text does not depend on the others."""
    judged = Judged(list(texts), [None] * len(texts))
    batch = TextBatch.of(judged.texts)
    live = np.ones(len(texts), dtype=bool)
    live = _rejected(judged, live, general_checks(batch, config.filters))
    if config.gopher_repetition:
        live = _rejected(judged, live, gopher_repetition(batch, config.gopher_repetition, live))
    if config.gopher_quality:
        live = _rejected(judged, live, gopher_quality(batch, config.gopher_quality))
    if config.c4:
        staying = np.flatnonzero(live)
        cleaned = c4_quality([judged.texts[i] for i in staying], config.c4)
        judged.texts = [text if stays else "" for text, stays in zip(judged.texts, live, strict=True)]
        for i, text in zip(staying.tolist(), cleaned.texts, strict=True):
            judged.texts[i] = text
        judged.lines.update(cleaned.lines)
        live = _rejected(judged, live, [_spread(check, staying, len(texts)) for check in cleaned.checks])
        batch = TextBatch.of(judged.texts)
    if config.fineweb:
        live = _rejected(judged, live, fineweb_quality(batch, config.fineweb))
    return judged


def _rejected(judged: Judged, live: Bools, checks: list[Check]) -> Bools:
    """Note why texts are rejected that no filter before has rejected. Returns which are left, bool[n]."""
    found = first_rejection(checks, len(live))
    for i in np.flatnonzero(live & (found >= 0)).tolist():
        check = checks[found[i]]
        judged.verdicts[i] = Verdict(check.reason, float(check.value[i]), check.limit)
    left: Bools = live & (found < 0)
    return left


def _spread(check: Check, places: Int64, texts: int) -> Check:
    """A check of some texts as one of all of them; the others have the limit itself."""
    value = np.full(texts, float(check.limit))
    value[places] = check.value
    return replace(check, value=value)
