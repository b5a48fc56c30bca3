"""A seeded shuffle of range(n) that is computed, not stored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exnihilo.core.seeds import derive

_ROUNDS = 4  # enough for a pseudo-random permutation even against chosen inputs (Luby and Rackoff, 1988)


class Permutation:
    """A bijection of range(n) that depends on n and the seed alone.

    A Feistel network over the least even number of bits that holds n, walked until it lands below n: less
    than four times on average, as its domain is below 4 n.

    Raises:
        ValueError: n is below 1.
    """

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise ValueError(f"a permutation of {n} elements")
        self.n = n
        half = max(1, ((n - 1).bit_length() + 1) // 2)
        self._half = np.uint64(half)
        self._mask = np.uint64((1 << half) - 1)
        self._keys = [np.uint64(derive(seed, "feistel", i)) for i in range(_ROUNDS)]

    def __call__(self, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Where each of `indices` (0 ≤ i < n) goes: int64 of the same shape."""
        flat = np.asarray(indices, dtype=np.uint64).ravel()
        image = self._encrypt(flat)
        outside = np.flatnonzero(image >= self.n)
        while outside.size:
            image[outside] = self._encrypt(image[outside])
            outside = outside[image[outside] >= self.n]
        return image.astype(np.int64).reshape(np.shape(indices))

    def all(self) -> npt.NDArray[np.int64]:
        """The whole order, int64[n]."""
        return self(np.arange(self.n))

    def _encrypt(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half) | right


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A 64-bit finaliser in which every input bit flips every output bit with probability near one half."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
