"""Means over families, each counting the same whatever its size (macro averages), with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from exnihilo.core.statistics import DRAWS, Interval, wilson

Families = Mapping[str, Sequence[float]]


def macro_share(families: Families) -> Interval:
    """The mean of the families' shares of successes (values 0 and 1).

    Interval by the method of variance estimates recovery from each family's Wilson interval (Zou and Donner 2008,
    doi 10.1002/sim.3095): with families of all or no successes a bootstrap would see no spread there.
    Raises ValueError without items.
    """
    shares = [wilson(round(sum(values)), len(values)) for values in _filled(families)]
    value = sum(share.value for share in shares) / len(shares)
    below = math.hypot(*(share.value - share.low for share in shares)) / len(shares)
    above = math.hypot(*(share.high - share.value for share in shares)) / len(shares)
    n = sum(share.n for share in shares)
    return Interval(value, n, max(0.0, value - below), min(1.0, value + above))


def macro_bootstrap(families: Families, *, seed: int, draws: int = DRAWS) -> Interval:
    """The mean of the families' means, for paired differences; percentile bootstrap stratified by family.

    Items are drawn within their family. Drawing `n` items with replacement is drawing how often each distinct
    value occurs, which is multinomial: a family of any size costs `draws × distinct values`. Raises ValueError
    without items.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    means = []
    for values in _filled(families):
        distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
        n = int(counts.sum())
        drawn += generator.multinomial(n, counts / n, size=draws) @ distinct / n
        means.append(float(counts @ distinct / n))
    low, high = np.quantile(drawn / len(means), [0.025, 0.975])
    return Interval(float(np.mean(means)), sum(map(len, families.values())), float(low), float(high))


def _filled(families: Families) -> list[Sequence[float]]:
    """The families' values in the order of their names."""
    if not families or not all(len(values) for values in families.values()):
        raise ValueError("a mean over families needs at least one item in each")
    return [families[name] for name in sorted(families)]
