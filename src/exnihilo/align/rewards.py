"""Where rewards come from: one interface for verifiers, reward models and sums of them.

A source gives each response a number, or None where it can't say, which is neither reward nor punishment: whoever
asked leaves such responses out of baselines and batches, and counts them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from exnihilo.align.responses import Response
from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import Scale, load_scorer
from exnihilo.teachers.judge import Judge
from exnihilo.tokenizer.folder import read_json
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.verify.check import Verdict, check

CARD = "card.json"
"""Where a reward model's folder says whether it is fit to be maximised."""


class RewardSource(Protocol):
    """Judges responses; `name` is what its figures are called in reports."""

    name: str

    def __call__(self, responses: Sequence[Response]) -> list[float | None]: ...


class Verified:
    """1 where the item's verifier accepts the response, 0 where it doesn't, None where it can't say.

    One that fails can't say either; `failures` counts what it failed with. Raises Refused for programs to be judged
    where this machine can't isolate them.
    """

    name = "correct"

    def __init__(self, check: Callable[[Mapping[str, Any], str], Verdict] = check) -> None:
        self._check = check
        self.failures: Counter[str] = Counter()

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        return [self._one(response) for response in responses]

    def _one(self, response: Response) -> float | None:
        try:
            correct = self._check(response.item.get("verifier") or {}, response.text).correct
        except ExnihiloError:
            raise
        except Exception as error:
            self.failures[f"{type(error).__name__}: {error}"[:120]] += 1
            return None
        return None if correct is None else float(correct)


class Judged:
    """A judge's grade of each response to what the user said last, from 0 to 1; None where the judge abstained."""

    name = "grade"

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        questions = [str(response.item["messages"][-1]["content"]) for response in responses]
        return self.judge.grades(questions, [response.text for response in responses])


class Trusted:
    """Another source, as long as it says something: once `patience` responses were judged, at most `most` of them may
    have no reward. Raises Refused beyond that, with the source's name and what it failed with: to learn from the few
    that are left would be to learn from whom a broken judge spares."""

    def __init__(self, source: RewardSource, *, most: float = 0.5, patience: int = 64) -> None:
        self.source, self.most, self.patience, self.name = source, most, patience, source.name
        self.judged = self.silent = 0

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        found = self.source(responses)
        self.judged += len(found)
        self.silent += sum(one is None for one in found)
        if self.judged >= self.patience and self.silent > self.most * self.judged:
            raise Refused(
                f"{self.name}: no reward for {self.silent} of {self.judged} answers{_why(self.source)}; mend what "
                "judges them"
            )
        return found


def _why(source: RewardSource) -> str:
    if isinstance(source, Verified) and source.failures:
        return f" ({source.failures.most_common(1)[0][0]})"
    if isinstance(source, Judged) and source.judge.first_problem:
        return f" ({source.judge.first_problem})"
    return ""


class Scored:
    """What one or several reward models think of an aspect of a response, read at its last token.

    The models read the very ids that the policy wrote. Scores are on the scale that the folder states. Of an ensemble
    the mean counts, or the least, which is harder to deceive (arXiv 2310.02743).

    Raises Refused for a reward model that read another tokenizer's ids, or failed its report card unless `force`.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        tokenizer: Tokenizer,
        *,
        aspect: int = 0,
        of_several: Literal["mean", "least"] = "mean",
        force: bool = False,
        rows: int = 16,
        name: str = "reward",
    ) -> None:
        self.name, self.aspect, self.of_several, self.rows, self.pad = (
            name,
            aspect,
            of_several,
            rows,
            tokenizer.pad,
        )
        self.models: list[tuple[Scorer, Scale]] = []
        for folder in folders:
            model, own, scale = load_scorer(folder)
            if own.fingerprint != tokenizer.fingerprint:
                raise Refused(
                    f"{folder}: it reads the ids of another tokenizer than the policy's; train it from the policy's "
                    "model"
                )
            check_card(folder, force=force)
            self.models.append((model.eval().requires_grad_(False), scale))

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        if not responses:
            return []
        by_model = torch.stack([self._scores(model, scale, responses) for model, scale in self.models])
        found = by_model.mean(0) if self.of_several == "mean" else by_model.amin(0)
        return [value if math.isfinite(value) else None for value in found.tolist()]

    @torch.inference_mode()
    def _scores(self, model: Scorer, scale: Scale, responses: Sequence[Response]) -> torch.Tensor:
        order = sorted(range(len(responses)), key=lambda i: len(responses[i].ids))
        scores = torch.zeros(len(responses))
        for start in range(0, len(order), self.rows):
            part = order[start : start + self.rows]
            ids = [responses[i].ids for i in part]
            longest = max(map(len, ids))
            tokens = torch.tensor([one + [self.pad] * (longest - len(one)) for one in ids])
            segments = torch.tensor([[0] * len(one) + [-1] * (longest - len(one)) for one in ids])
            positions = torch.arange(longest).expand(len(ids), longest).contiguous()
            ends = torch.tensor([[len(one) - 1] for one in ids])
            scores[part] = model.at(ends, tokens, positions, segments)[:, 0, self.aspect].float()
        return (scores - scale.mean[self.aspect]) / scale.spread[self.aspect]


def check_card(folder: Path, *, force: bool) -> None:
    """Raise Refused for a reward model that has not passed its report card, unless `force`."""
    card = folder / CARD
    found = (
        read_json(card, "make the reward model again")
        if card.is_file()
        else {"passed": False, "verdict": "it has no report card"}
    )
    if not found["passed"] and not force:
        raise Refused(
            f"{folder}: not fit to be maximised: {found['verdict']}; train a better one, or give --force_reward true"
        )


@dataclass(frozen=True)
class Part:
    """A source in a sum: its weight, and below which value of it (`gate`) nothing else counts."""

    source: RewardSource
    weight: float = 1.0
    gate: float | None = None


class WeightedSum:
    """Σ weight · reward. Where a gated source is below its gate, the sum is that source's weighted value alone: no
    amount of the others makes up for it. Where a source can't say, neither can the sum."""

    name = "reward"

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.last: dict[str, list[float | None]] = {}

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        self.last = {part.source.name: part.source(responses) for part in self.parts}
        columns = [self.last[part.source.name] for part in self.parts]
        return [self._sum([column[i] for column in columns]) for i in range(len(responses))]

    def _sum(self, values: Sequence[float | None]) -> float | None:
        total = 0.0
        for part, value in zip(self.parts, values, strict=True):
            if value is None:
                return None
            if part.gate is not None and value < part.gate:
                return part.weight * value
            total += part.weight * value
        return total


class Unended:
    """Another source, less `penalty` for a response that the policy did not end itself: being cut off never pays,
    whatever the sign of the reward."""

    def __init__(self, source: RewardSource, penalty: float) -> None:
        if penalty < 0:
            raise ValueError(f"a penalty of {penalty} would be a reward")
        self.source, self.penalty, self.name = source, penalty, source.name

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        return [
            value if value is None or response.ended else value - self.penalty
            for value, response in zip(self.source(responses), responses, strict=True)
        ]
