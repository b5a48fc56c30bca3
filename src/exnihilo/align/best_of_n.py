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


def divergence(n: int) -> float:
    """KL of best-of-n from the policy in nats, without ties: log n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n
