"""Our filters, as `curate` applies them: each rule set on every text, in batches."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.systems.corpus_texts import english
from exnihilo.corpus.c4 import c4_quality
from exnihilo.corpus.c4_config import C4Limits
from exnihilo.corpus.checks import Check, first_rejection
from exnihilo.corpus.fineweb import fineweb_quality
from exnihilo.corpus.fineweb_config import FineWebLimits
from exnihilo.corpus.gopher import gopher_quality, gopher_repetition
from exnihilo.corpus.gopher_config import QualityLimits, RepetitionLimits
from exnihilo.corpus.text_batch import TextBatch

RULES = ("repetition", "quality", "c4", "fineweb")
_BATCH = 1 << 20  # characters
_texts: list[str] = []


def prepare(documents: int | None) -> dict[str, Any]:
    """Read the texts, and filter some once so that tables are made."""
    _texts.extend(english(documents))
    _filtered(_texts[:20])
    return {"documents": len(_texts), "bytes": sum(len(text.encode()) for text in _texts)}


def measure() -> dict[str, Any]:
    """Seconds for all rules on all texts, and the reason by rule set and text (None: it stays)."""
    started = time.perf_counter()
    reasons = _filtered(_texts)
    return {"seconds": time.perf_counter() - started, "reasons": reasons}


def _filtered(texts: list[str]) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {rule: [] for rule in RULES}
    for some in _batches(texts):
        batch = TextBatch.of(some)
        for rule, checks in (
            ("repetition", gopher_repetition(batch, RepetitionLimits(as_datatrove=True))),
            ("quality", gopher_quality(batch, QualityLimits())),
            ("c4", c4_quality(some, C4Limits(finished_lines=False)).checks),
            ("fineweb", fineweb_quality(batch, FineWebLimits())),
        ):
            found[rule] += _reasons(checks, len(some))
    return found


def _reasons(checks: list[Check], texts: int) -> list[str | None]:
    return [checks[i].reason if i >= 0 else None for i in first_rejection(checks, texts).tolist()]


def _batches(texts: list[str]) -> list[list[str]]:
    batches: list[list[str]] = []
    length = _BATCH
    for text in texts:
        if length >= _BATCH:
            batches.append([])
            length = 0
        batches[-1].append(text)
        length += len(text)
    return batches
