"""The best of n answers: what it is worth, and how far it is from the policy (arXiv 2210.10760, 2009.01325)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean


def expected_best(rewards: Sequence[float], n: int) -> float:
    """The expected largest of n rewards, unbiased from a larger sample.

    Raises ValueError for n above the number of rewards.
    """
    return expected_picked(rewards, rewards, n)


def expected_picked(rewards: Sequence[float], worth: Sequence[float], n: int) -> float:
    """What the best of n by one reward is worth by another, unbiased from a larger sample: Σ C(i - 1, n - 1) / C(N, n)
    times the worth of the i-th smallest, which is the mean over all subsets of n (arXiv 2210.10760). Equal rewards
    share their mean worth: any of them may be picked.

    Raises ValueError for n above the number of rewards, or another number of worths.
    """
    size = len(rewards)
    if not 1 <= n <= size:
        raise ValueError(f"the best of {n} needs at least {n} rewards, not {size}")
    equal = defaultdict[float, list[float]](list)
    for reward, value in zip(rewards, worth, strict=True):
        equal[reward].append(value)
    means = {reward: fmean(values) for reward, values in equal.items()}
    total, weight = 0.0, n / size  # of the largest; each follows from the one above, and none overflows
    for i, reward in zip(range(size, n - 1, -1), sorted(rewards, reverse=True), strict=False):
        total += weight * means[reward]
        weight *= (i - n) / max(1, i - 1)
    return total


def divergence(n: int) -> float:
    """KL of best-of-n from the policy in nats, without ties: log n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n
