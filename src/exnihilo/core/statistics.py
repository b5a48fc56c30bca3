"""Every score with its n and a 95 % interval: Wilson for proportions, the bootstrap for the rest.

Bootstraps are seeded: the same values give the same interval. With one value a bootstrap cannot tell
anything, and low = high = value. All functions raise ValueError without values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
DRAWS = 10_000
_CHUNK = 4_000_000  # numbers drawn at a time: 32 MB


@dataclass(frozen=True)
class Interval:
    """A value over n items with the bounds of its 95 % interval."""

    value: float
    n: int
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is significant at 5 %."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, float]:
        """{"value", "n", "low", "high"}: a score as results.json has it."""
        return asdict(self)


def wilson(successes: int, n: int) -> Interval:
    """A proportion with Wilson's score interval, which holds near 0 and 1 and for small n."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n > 0, not {successes} of {n}")
    share = successes / n
    scale = 1 + Z95**2 / n
    centre = (share + Z95**2 / (2 * n)) / scale
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / scale
    # At the ends the bound is the end itself; the formula misses it by a rounding error.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, n, low, high)


def normal_margin(share: float, n: int) -> float:
    """Half the width of a proportion's 95 % interval by the normal approximation: 0.077 for 0.5 of 164."""
    return Z95 * math.sqrt(share * (1 - share) / n)


def bootstrap(
    values: ArrayLike, clusters: Sequence[object] | None = None, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """The mean of values with its bootstrap interval.

    `clusters` names for each value the group that it was drawn with (the document of a question, the prompt
    of an answer): whole groups are then drawn, since values of one group say less than as many independent
    ones. n stays the number of values.
    """
    array = _floats(values)
    if clusters is None:
        return _bootstrap(array, np.ones_like(array), seed, draws)
    if len(clusters) != len(array):
        raise ValueError(f"{len(clusters)} clusters for {len(array)} values")
    # Numbered in order of appearance, so that names of any type will do.
    numbers: dict[object, int] = {}
    index = np.array([numbers.setdefault(name, len(numbers)) for name in clusters])
    sums = _floats(np.bincount(index, weights=array))
    sizes = _floats(np.bincount(index))
    interval = _bootstrap(sums, sizes, seed, draws)
    return Interval(interval.value, len(array), interval.low, interval.high)


def ratio_bootstrap(
    numerators: ArrayLike, denominators: ArrayLike, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """sum(numerators) / sum(denominators) with its interval over items: bits per byte over documents.

    The ratio of the sums, not the mean of the ratios: each byte counts the same, whichever document it is in.
    """
    above, below = _floats(numerators), _floats(denominators)
    if above.shape != below.shape:
        raise ValueError(f"{len(above)} numerators for {len(below)} denominators")
    if below.min() < 0 or below.sum() == 0:
        raise ValueError("denominators must not be negative, nor all zero")
    return _bootstrap(above, below, seed, draws)


def paired_bootstrap(a: ArrayLike, b: ArrayLike, seed: int = 0, draws: int = DRAWS) -> Interval:
    """The mean of a - b, item by item, with its interval: two models on the same items."""
    first, second = _floats(a), _floats(b)
    if first.shape != second.shape:
        raise ValueError(f"pairs need as many values on either side, not {len(first)} and {len(second)}")
    return bootstrap(first - second, seed=seed, draws=draws)


def _floats(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError("a flat sequence of at least one value is needed")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite")
    return array


def _bootstrap(above: NDArray[np.float64], below: NDArray[np.float64], seed: int, draws: int) -> Interval:
    """sum(above) / sum(below) and the quantiles of it over resampled items."""
    value, n = float(above.sum() / below.sum()), len(above)
    generator = np.random.default_rng(seed)
    pairs, counts = np.unique(np.stack([above, below], axis=1), axis=0, return_counts=True)
    if len(pairs) * 8 <= n:
        # Drawing n items is drawing how often each distinct one occurs: for 0/1 scores two numbers, not n.
        sums = generator.multinomial(n, counts / n, size=draws) @ pairs
    else:
        sums = np.empty((draws, 2))
        rows = max(1, _CHUNK // n)
        for start in range(0, draws, rows):
            drawn = generator.integers(n, size=(min(rows, draws - start), n))
            sums[start : start + rows, 0] = above[drawn].sum(axis=1)
            sums[start : start + rows, 1] = below[drawn].sum(axis=1)
    usable = sums[sums[:, 1] > 0]
    tail = _tail(n)
    low, high = np.quantile(usable[:, 0] / usable[:, 1], [tail, 1 - tail])
    return Interval(value, n, float(low), float(high))


def _tail(n: int) -> float:
    """The share of draws left out at either end: 0.025 for large n, less for small ones.

    Plain percentiles are too narrow for few items, as if a normal quantile stood for Student's:
    they covered 89 % of the time with 10 items, 93 % with 20. This is the "expanded percentile" interval of
    Hesterberg (arXiv 1411.5279).
    """
    if n < 3:
        return 0.0
    freedom = n - 1
    # Student's quantile by Cornish and Fisher's expansion, to 1 % at 5 degrees of freedom.
    first, second = Z95**3 + Z95, 5 * Z95**5 + 16 * Z95**3 + 3 * Z95
    student = Z95 + first / (4 * freedom) + second / (96 * freedom**2)
    return math.erfc(student * math.sqrt(n / freedom) / math.sqrt(2)) / 2
