"""Example items, right and wrong for each model side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exnihilo.report.run import Record

# A family shows at most this many items, each with another pattern of right and wrong.
PER_FAMILY = 4


@dataclass(frozen=True)
class Reply:
    """What one model said; `correct` is None where it could not be checked."""

    model: str
    output: str
    correct: bool | None
    finish: str


@dataclass(frozen=True)
class Example:
    """A question, the right answer, and each model's reply."""

    prompt: str
    answer: str
    replies: list[Reply]


def examples_by_family(items: Mapping[str, Sequence[Record]]) -> dict[str, list[Example]]:
    """For each family the first item of each pattern of right and wrong, what the last model gained first.

    Choosing by pattern shows where models differ and where all fail; it says nothing about how often.
    """
    rows: dict[str, dict[str, Record]] = {}
    for model, records in items.items():
        for record in records:
            rows.setdefault(record["id"], {})[model] = record
    patterns: dict[str, dict[tuple[Any, ...], Example]] = {}
    for replies in rows.values():
        first = next(iter(replies.values()))
        pattern = tuple(reply["correct"] for reply in replies.values())
        patterns.setdefault(first["family"], {}).setdefault(pattern, _example(replies))
    return {
        family: [found[pattern] for pattern in sorted(found, key=_interest)[:PER_FAMILY]]
        for family, found in sorted(patterns.items())
    }


def _interest(pattern: tuple[Any, ...]) -> tuple[int, ...]:
    """Gained by the last model, lost by it, right everywhere, wrong everywhere."""
    earlier, last = pattern[:-1], pattern[-1]
    if last is True and False in earlier:
        rank = 0
    elif last is False and True in earlier:
        rank = 1
    else:
        rank = 2 if last is True else 3
    return (rank, sum(value is True for value in pattern))


def _example(replies: Mapping[str, Record]) -> Example:
    first = next(iter(replies.values()))
    said = [
        Reply(model, record["output"], record["correct"], record["finish"])
        for model, record in replies.items()
    ]
    return Example(first["prompt"], first["answer"], said)
