"""Paired differences between two arms: what they are, how sure that is, what could have been seen at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exnihilo.core.statistics import Interval
from exnihilo.lab.student import detectable_shift, p_value, quantile95

FORMULAS = {
    "difference": "mean over seeds of d = (arm) − (first arm), each seed with itself",
    "interval": "d ± t(0.975, n − 1) · s / √n; n seeds, s the standard deviation of d over them",
    "detectable": (
        "δ · s / √n, where δ solves P(|t'| > t(0.975, n − 1)) = 0.8 for Student's t' with n − 1 degrees of "
        "freedom and non-centrality δ: a true difference of that size is found in 80 % of such experiments"
    ),
    "items": (
        "95 % bootstrap over held-out items (documents for text), each item's difference first averaged over "
        "seeds: would other items say the same of these very models?"
    ),
    "p_holm": "two-sided t test, adjusted for the number of comparisons by Holm's method",
}


@dataclass(frozen=True)
class Paired:
    """The mean of b - a over seeds, and how sure it is.

    `spread`: standard deviation of the differences over seeds. `detectable`: the smallest true difference
    that 80 % of such experiments would find. `p`: of a two-sided t test against zero. With one seed, or where
    all seeds have the same difference, there is no interval: a spread of zero is what a few right answers of a
    few questions easily give, not certainty.
    """

    value: float
    n: int
    spread: float | None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    p: float | None = None


def paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """Compare values of two arms, paired by seed; the 95 % interval is Student's.

    Raises ValueError without pairs, or for a value that is not finite.
    """
    differences = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    n = len(differences)
    if len(a) != len(b) or n == 0 or not np.isfinite(differences).all():
        raise ValueError(f"as many finite values on either side are needed, not {len(a)} and {len(b)}")
    value = float(differences.mean())
    if n == 1:
        return Paired(value, n, None)
    spread = float(differences.std(ddof=1))
    # Equal differences can differ by a rounding error, which would claim a certainty that is not there.
    if spread <= 1e-12 * max(1.0, float(np.abs(differences).max())):
        return Paired(value, n, 0.0)
    error = spread / math.sqrt(n)
    half, shift = quantile95(n - 1) * error, detectable_shift(n - 1) * error
    return Paired(value, n, spread, value - half, value + half, shift, p_value(value / error, n - 1))


def verdict(found: Paired, items: Interval | None, better: int) -> str:
    """In one word what the intervals say of the second arm.

    "better" or "worse" where no interval holds zero, "other" where a metric has no better side (`better` is 1
    where more is better, -1 where less is, 0 for neither), "open" where one holds zero, "same" where every
    seed gave the same number, "unknown" with one seed.
    """
    if found.spread is None:
        return "unknown"
    if found.spread == 0 and found.value == 0:
        return "same"
    if found.spread == 0 and items is None:
        return "unknown"
    for low, high in ((found.low, found.high), (items.low, items.high) if items else (None, None)):
        if low is not None and high is not None and (low <= 0 if found.value > 0 else high >= 0):
            return "open"
    if better == 0:
        return "other"
    return "better" if (found.value > 0) == (better > 0) else "worse"


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for their number (Holm 1979, "A simple sequentially rejective multiple test
    procedure"); None stays None and is not counted."""
    known = sorted((p, i) for i, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted
