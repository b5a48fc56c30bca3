"""The best of n answers: what it is worth, and how far it is from the policy (arXiv 2210.10760, 2009.01325)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def expected_best(rewards: Sequence[float], n: int) -> float:
    """The expected largest of n rewards, unbiased from a larger sample: Σ C(i - 1, n - 1) / C(N, n) times the i-th.

    Raises ValueError for n above the number of rewards.
    """
    if not 1 <= n <= len(rewards):
        raise ValueError(f"the best of {n} needs at least {n} rewards, not {len(rewards)}")
    subsets = math.comb(len(rewards), n)
    return sum(math.comb(i, n - 1) / subsets * reward for i, reward in enumerate(sorted(rewards)))


def expected_of_best(by: Sequence[float], of: Sequence[float], n: int) -> float:
    """The expected `of` of the answer that is best of n `by`: the gold reward of what the proxy picks.

    Ties of `by` share what they pick. Raises ValueError as `expected_best`, and for lists of different lengths.
    """
    if len(by) != len(of):
        raise ValueError(f"{len(by)} rewards to choose by, and {len(of)} of what is chosen")
    expected_best(by, n)
    order = sorted(range(len(by)), key=lambda i: by[i])
    values: list[float] = []
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and by[order[stop]] == by[order[start]]:
            stop += 1
        mean = sum(of[i] for i in order[start:stop]) / (stop - start)
        values += [mean] * (stop - start)
        start = stop
    subsets = math.comb(len(by), n)
    return sum(math.comb(i, n - 1) / subsets * value for i, value in enumerate(values))


def divergence(n: int) -> float:
    """KL of best-of-n from the policy in nats, without ties: log n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n
