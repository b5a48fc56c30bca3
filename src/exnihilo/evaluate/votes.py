"""What several sampled answers to one question are worth: the first, a right one among them, or the most frequent.

pass@k is unbiased (arXiv 2107.03374); the majority is that of self-consistency (2203.11171), over answers as the
verifier read them, so that `1/2` and `0.5` are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DRAWS = 200
"""So many subsets of the samples are drawn for the majority of fewer than all."""


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that one of k answers is right, from n of which `right` are: 1 - C(n - right, k) / C(n, k).

    Raises ValueError for k above n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} answers, not {n}")
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def majority_at(k: int, got: Sequence[str], correct: Sequence[bool], seed: int) -> float:
    """The chance that the most frequent of k answers is right; of several that are as frequent any is taken.

    An answer that nothing could be read out of ("") has no vote: where all are so, the majority is wrong. Mean over
    `DRAWS` subsets, or exactly where k is 1 or all. Raises ValueError for k above the number of answers.
    """
    if not 1 <= k <= len(got):
        raise ValueError(f"a majority of {k} needs at least {k} answers, not {len(got)}")
    if k == 1:
        return sum(correct) / len(correct)
    names = {answer: i for i, answer in enumerate(dict.fromkeys(answer for answer in got if answer))}
    if not names:
        return 0.0
    # Whether an answer is right is the same for all that read the same.
    right = np.zeros(len(names))
    for answer, good in zip(got, correct, strict=True):
        if answer:
            right[names[answer]] = float(good)
    votes = np.array([names.get(answer, -1) for answer in got])
    generator = np.random.default_rng(seed)
    draws = 1 if k == len(votes) else DRAWS
    total = 0.0
    for _ in range(draws):
        chosen = generator.permutation(votes)[:k]
        counts = np.bincount(chosen[chosen >= 0], minlength=len(names))
        if counts.max() > 0:
            total += float(right[counts == counts.max()].mean())
    return total / draws


def sizes(samples: int) -> list[int]:
    """The k that are told: 1, 4, 16, 64 and so on up to the number of samples, and that."""
    powers = [4**n for n in range(12) if 4**n < samples]
    return [*powers, samples]
