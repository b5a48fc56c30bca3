"""The report card of a reward model: what it gets right on comparisons that it was not trained on, and whether that is
more than counting words or length gets right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from exnihilo.core.statistics import Interval, bootstrap

BINS = 10
LEVELS = 6
"""Margins that are told apart: judges' scales have no more levels."""
SIMILAR = 0.2
"""Lengths that differ by no more than this share of the longer one count as alike."""


@dataclass(frozen=True)
class Scored:
    """A held-out pair: the scores and lengths (tokens) of its answers, and how far baselines think the better one is
    better.

    Attributes:
        prompt: a number by which pairs of one prompt are known; they are drawn together.
        certainty: the share of judges who prefer `better`; a tie (0.5) is in no accuracy.
    """

    prompt: int
    source: str
    better: float
    worse: float
    better_length: int
    worse_length: int
    margin: float
    certainty: float
    baselines: dict[str, float]


def report_card(pairs: Sequence[Scored]) -> dict[str, Any]:
    """Accuracy with its interval, against each baseline on the same pairs, by source, margin and length, calibration
    and what scores have to do with length. Ties of the judges are left out and counted; a tie of scores is half
    right."""
    judged = [one for one in pairs if one.certainty != 0.5]
    if not judged:
        return {
            "pairs": len(pairs),
            "ties": len(pairs),
            "passed": False,
            "verdict": "no pair has a preferred answer" if pairs else "nothing was held out",
        }
    right = [_right(one.better - one.worse) for one in judged]
    prompts = [one.prompt for one in judged]
    card: dict[str, Any] = {
        "pairs": len(judged),
        "ties": len(pairs) - len(judged),
        "accuracy": asdict(bootstrap(right, clusters=prompts)),
        "baselines": {},
        "by_source": _by(judged, right, lambda one: one.source),
        "by_margin": _by(judged, right, _margin_group([one.margin for one in judged])),
        "by_certainty": _by(judged, right, lambda one: _certainty(one.certainty)),
        "by_length": _by(judged, right, _length_group),
        "calibration_error": calibration_error([one.better - one.worse for one in judged]),
        "length_correlation": length_correlation(pairs),
    }
    for name in judged[0].baselines:
        guesses = [_right(one.baselines[name]) for one in judged]
        difference = bootstrap([a - b for a, b in zip(right, guesses, strict=True)], clusters=prompts)
        card["baselines"][name] = {
            "accuracy": asdict(bootstrap(guesses, clusters=prompts)),
            "difference": asdict(difference),
        }
    card["passed"], card["verdict"] = _verdict(card)
    return card


def card_of(aspects: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The card of a model with a card for each of its aspects: that card where there is one, else all of them, passed
    where each is."""
    if len(aspects) == 1:
        return next(iter(aspects.values()))
    return {
        "passed": all(card["passed"] for card in aspects.values()),
        "verdict": "; ".join(f"{name}: {card['verdict']}" for name, card in aspects.items()),
        "aspects": dict(aspects),
    }


def cards_of(card: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The cards in a card by aspect; of a model of one aspect it has no name."""
    return card.get("aspects") or {"": card}


def calibration_error(gaps: Sequence[float]) -> float:
    """Expected calibration error of σ(gap), the probability that the preferred answer is better, in ten bins of equal
    width of the confidence max(p, 1 - p) (arXiv 1706.04599)."""
    p = 1 / (1 + np.exp(-np.clip(np.asarray(gaps, dtype=np.float64), -60, 60)))
    confidence, right = np.maximum(p, 1 - p), np.where(p == 0.5, 0.5, p > 0.5)
    which = np.minimum((2 * (confidence - 0.5) * BINS).astype(int), BINS - 1)
    return float(
        sum(
            abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean()
            for b in np.unique(which)
        )
    )


def length_correlation(pairs: Sequence[Scored]) -> float:
    """Spearman's correlation of an answer's score with its length; 0 where all lengths or scores are equal."""
    scores = [score for one in pairs for score in (one.better, one.worse)]
    lengths = [length for one in pairs for length in (one.better_length, one.worse_length)]
    a, b = _ranks(scores), _ranks(lengths)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Iterable[float]) -> np.ndarray:
    """Ranks, equal values sharing their mean."""
    array = np.asarray(list(values), dtype=np.float64)
    _, place, count = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _right(gap: float) -> float:
    return 0.5 if gap == 0 else float(gap > 0)


def _by(
    pairs: Sequence[Scored], right: Sequence[float], group: Callable[[Scored], str]
) -> dict[str, dict[str, float]]:
    groups: dict[str, tuple[list[float], list[int]]] = {}
    for one, value in zip(pairs, right, strict=True):
        values, prompts = groups.setdefault(group(one), ([], []))
        values.append(value)
        prompts.append(one.prompt)
    return {
        name: asdict(bootstrap(values, clusters=prompts))
        for name, (values, prompts) in sorted(groups.items())
    }


def _margin_group(margins: Sequence[float]) -> Callable[[Scored], str]:
    """By value where there are few, else by quarters."""
    if len(set(margins)) <= LEVELS:
        return lambda one: f"{one.margin:g}"
    borders = np.quantile(margins, [0.25, 0.5, 0.75])
    names = ("smallest quarter", "second quarter", "third quarter", "largest quarter")
    return lambda one: names[int(np.searchsorted(borders, one.margin, side="right"))]


def _certainty(share: float) -> str:
    return "at least 0.9" if share >= 0.9 else "0.7 to 0.9" if share >= 0.7 else "below 0.7"


def _length_group(one: Scored) -> str:
    longest = max(one.better_length, one.worse_length)
    if abs(one.better_length - one.worse_length) <= SIMILAR * longest:
        return "of similar length"
    return "the better is longer" if one.better_length > one.worse_length else "the better is shorter"


def _verdict(card: dict[str, Any]) -> tuple[bool, str]:
    accuracy = Interval(**card["accuracy"])
    if accuracy.low <= 0.5:
        return (
            False,
            f"no better than chance: {accuracy.value:.1%} of {accuracy.n} pairs ({_bounds(accuracy)})",
        )
    for name, found in card["baselines"].items():
        difference = Interval(**found["difference"])
        if difference.low <= 0:
            return False, (
                f"not shown to be better than {name}: {difference.value:+.1%} ({_bounds(difference)}) on "
                f"{difference.n} pairs"
            )
    beaten = " and ".join(card["baselines"])
    return True, f"{accuracy.value:.1%} of {accuracy.n} pairs ({_bounds(accuracy)}), better than {beaten}"


def _bounds(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"
