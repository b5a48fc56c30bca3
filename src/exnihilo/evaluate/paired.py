"""Means over families and paired differences between two models, each with a 95 % interval.

Items are drawn within their family, so that every resample has the same number of items of each kind. A
family counts the same whatever its size (macro average).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from exnihilo.core.statistics import Interval

DRAWS = 10_000


def macro_bootstrap(families: Mapping[str, Sequence[float]], *, seed: int, draws: int = DRAWS) -> Interval:
    """Mean of the families' means; percentile interval of a bootstrap stratified by family.

    Drawing `n` items with replacement is drawing how often each distinct value occurs, which is multinomial:
    a family of any size costs `draws × distinct values`. Raises ValueError without items.
    """
    if not families or not all(len(values) for values in families.values()):
        raise ValueError("a mean over families needs at least one item in each")
    generator = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    means = []
    for name in sorted(families):
        values, counts = np.unique(np.asarray(families[name], dtype=np.float64), return_counts=True)
        n = int(counts.sum())
        drawn += generator.multinomial(n, counts / n, size=draws) @ values / n
        means.append(float(counts @ values / n))
    low, high = np.quantile(drawn / len(means), [0.025, 0.975])
    items = sum(len(values) for values in families.values())
    return Interval(float(np.mean(means)), items, float(low), float(high))


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
