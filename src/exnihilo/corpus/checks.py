"""A rule's measure of every text of a batch, and the limit beyond which a text is rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Check:
    """One rule on one batch.

    Attributes:
        reason: what a rejected text is told to be: "gopher: too few words".
        value: what was measured of each text, float64[n].
        limit: a text exactly at it is kept.
        is_minimum: below the limit is rejected, not above it.
    """

    reason: str
    value: Float64
    limit: float
    is_minimum: bool = False

    @property
    def rejects(self) -> Bools:
        """bool[n]"""
        return self.value < self.limit if self.is_minimum else self.value > self.limit


def first_rejection(checks: Sequence[Check], texts: int) -> npt.NDArray[np.int64]:
    """Of each text the number of the first check that rejects it, or -1: int64[texts]."""
    found = np.full(texts, -1)
    for number, check in reversed(list(enumerate(checks))):
        found[check.rejects] = number
    return found


def share(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Float64:
    """`part / whole`, and 0 of nothing, float64[n]."""
    shares: Float64 = np.divide(part, whole, out=np.zeros(len(part)), where=np.asarray(whole) != 0)
    return shares
