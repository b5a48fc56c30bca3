"""Which models are compared, and their differences on the same items."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def paired_differences(
    a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]
) -> dict[str, list[float]]:
    """`correct(a) - correct(b)` by family, over the items of both models that could be checked."""
    other = {item["id"]: item["correct"] for item in b}
    differences: dict[str, list[float]] = {}
    for item in a:
        mine, theirs = item["correct"], other.get(item["id"])
        if mine is not None and theirs is not None:
            differences.setdefault(item["family"], []).append(float(mine) - float(theirs))
    return differences


def default_pairs(models: Sequence[str]) -> list[tuple[str, str]]:
    """Each model against the one before it, then the last against each earlier one."""
    pairs = [(after, before) for before, after in itertools.pairwise(models)]
    pairs += [(models[-1], before) for before in models[:-2]]
    return pairs
