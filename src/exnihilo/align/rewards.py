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

from exnihilo.align.card import cards_of
from exnihilo.align.responses import Response
from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.infer.score import answer_scores
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import load_scorer
from exnihilo.teachers.judge import Judge
from exnihilo.tokenizer.folder import read_json
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.train import distributed
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


class Programmed:
    """What a function makes of an item and an answer: a number, or None where it can't say. One that fails, or gives
    something else, can't say either; `failures` counts what it failed with."""

    name = "program"

    def __init__(self, function: Callable[[dict[str, Any], str], float | None]) -> None:
        self._function = function
        self.failures: Counter[str] = Counter()

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        return [self._one(response) for response in responses]

    def _one(self, response: Response) -> float | None:
        try:
            found = self._function(response.item, response.text)
            value = None if found is None else float(found)
        except Exception as error:
            self.failures[f"{type(error).__name__}: {error}"[:120]] += 1
            return None
        if value is not None and not math.isfinite(value):
            self.failures[f"it gave {value}"] += 1
            return None
        return value


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
        self.last: list[float | None] = []

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        self.last = found = self.source(responses)
        self.judged += len(found)
        self.silent += sum(one is None for one in found)
        if self.judged >= self.patience and self.silent > self.most * self.judged:
            raise Refused(f"{self.name}: {self.told()}; mend what judges them")
        return found

    def told(self) -> str:
        """How many had none, and why the first or most frequent of them."""
        return f"no reward for {self.silent} of {self.judged} answers{_why(self.source)}"


def _why(source: RewardSource) -> str:
    if isinstance(source, (Verified, Programmed)) and source.failures:
        return f" ({source.failures.most_common(1)[0][0]})"
    if isinstance(source, Judged) and source.judge.first_problem:
        return f" ({source.judge.first_problem})"
    return ""


class RewardModel:
    """A reward model from disk. It reads the very ids that the policy wrote, all aspects at once.

    Raises Refused for one that reads another tokenizer's ids.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, *, rows: int = 16) -> None:
        model, own, self.scale = load_scorer(folder, distributed.device())
        if own.fingerprint != tokenizer.fingerprint:
            raise Refused(
                f"{folder}: it reads the ids of another tokenizer than the policy's; train it from the policy's model"
            )
        self.folder, self.rows, self.pad = folder, rows, tokenizer.pad
        self.model: Scorer = model.eval().requires_grad_(False)
        self._last: tuple[Sequence[Response], torch.Tensor] | None = None

    def scores(self, responses: Sequence[Response]) -> torch.Tensor:
        """`[responses, aspects]`, as the model gives them. Of the same responses they are kept for whoever asks for
        another aspect."""
        if self._last is None or self._last[0] is not responses:
            ids = [response.ids for response in responses]
            self._last = (responses, answer_scores(self.model, ids, self.pad, rows=self.rows))
        return self._last[1]


class Scored:
    """What one or several reward models think of an aspect of a response (None: of the only one that they know).

    Scores are in units of the spread that the folder states, or, with `log_odds`, as they were learned, where σ of a
    difference is a probability; both are 0 for an answer as good as the mean. Of an ensemble the mean counts, or the
    least, which is harder to deceive (arXiv 2310.02743).

    Raises Refused for a reward model that reads another tokenizer's ids, knows no such aspect, or failed its report
    card unless `force`.
    """

    def __init__(
        self,
        models: Sequence[Path | RewardModel],
        tokenizer: Tokenizer,
        *,
        aspect: str | None = None,
        of_several: Literal["mean", "least"] = "mean",
        log_odds: bool = False,
        force: bool = False,
        rows: int = 16,
        name: str = "reward",
    ) -> None:
        self.name, self.of_several, self.log_odds = aspect or name, of_several, log_odds
        self.models = [
            one if isinstance(one, RewardModel) else RewardModel(one, tokenizer, rows=rows) for one in models
        ]
        self._columns: list[int] = []
        for one in self.models:
            known = one.scale.aspects
            if aspect not in known if aspect is not None else len(known) > 1:
                raise Refused(f"{one.folder}: it judges {', '.join(known)}; name one of them")
            check_card(one.folder, aspect, force=force)
            self._columns.append(known.index(aspect) if aspect is not None else 0)

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        if not responses:
            return []
        by_model = torch.stack(
            [self._scaled(*one, responses) for one in zip(self.models, self._columns, strict=True)]
        )
        found = by_model.mean(0) if self.of_several == "mean" else by_model.amin(0)
        return [value if math.isfinite(value) else None for value in found.tolist()]

    def _scaled(self, one: RewardModel, column: int, responses: Sequence[Response]) -> torch.Tensor:
        centred = one.scores(responses)[:, column] - one.scale.mean[column]
        return centred if self.log_odds else centred / one.scale.spread[column]


def check_card(folder: Path, aspect: str | None = None, *, force: bool) -> None:
    """Raise Refused for a reward model that has not passed its report card (that of `aspect`, where it has several),
    unless `force`."""
    card = folder / CARD
    found = (
        read_json(card, "make the reward model again")
        if card.is_file()
        else {"passed": False, "verdict": "it has no report card"}
    )
    own = cards_of(found).get(aspect or "", found)
    if not own["passed"] and not force:
        raise Refused(
            f"{folder}: not fit to be maximised: {own['verdict']}; train a better one, or give --force_reward true"
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
