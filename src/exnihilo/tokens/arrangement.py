"""Whole items of different sizes arranged in rows by best fit, anew each epoch, in rows that run on over epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exnihilo.core.seeds import derive
from exnihilo.tokens.order import Permutation

Int64Array = npt.NDArray[np.int64]


class Arrangement:
    """Which items share a row, for every row from 0 on.

    Each epoch holds every item once, in a seeded arrangement. All epochs have the same number of rows, since it depends
    on the sizes alone.

    Args:
        sizes: int64[items], positions that each item takes, from 1 to `capacity`.
        capacity: positions of a row.
        seed: of the order.

    Attributes:
        rows_per_epoch: rows that hold every item once.
        fill: the share of their positions that items take.
    """

    def __init__(self, sizes: Int64Array, capacity: int, seed: int) -> None:
        self._sizes = sizes
        self.seed = seed
        row, offset = best_fit_decreasing(np.sort(sizes)[::-1], capacity)
        # A slot is a place for an item of one size. best_fit_decreasing numbers them from the largest on; `_slots`
        # lists the numbers row by row, the order in which all below holds them.
        self._slots = np.argsort(row, kind="stable")
        self._offsets = offset[self._slots]
        self.rows_per_epoch = int(row.max()) + 1
        self._first = np.searchsorted(row[self._slots], np.arange(self.rows_per_epoch + 1))
        self.fill = float(sizes.sum()) / (self.rows_per_epoch * capacity)
        self._epochs: dict[int, _Epoch] = {}

    def row(self, number: int) -> tuple[Int64Array, Int64Array]:
        """The items of row `number`, counted over all epochs, and where in the row each begins."""
        epoch, k = divmod(number, self.rows_per_epoch)
        plan = self._epoch(epoch)
        row = plan.rows[k]
        slots = slice(self._first[row], self._first[row + 1])
        return plan.items[slots], self._offsets[slots]

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._epochs:
            if (
                len(self._epochs) == 2
            ):  # a batch rarely spans more epochs than the one ending and the one beginning
                del self._epochs[min(self._epochs)]
            shuffled = Permutation(self._sizes.size, derive(self.seed, "conversations", epoch)).all()
            longest_first = shuffled[np.argsort(-self._sizes[shuffled], kind="stable")]
            rows = Permutation(self.rows_per_epoch, derive(self.seed, "rows", epoch)).all()
            self._epochs[epoch] = _Epoch(longest_first[self._slots], rows)
        return self._epochs[epoch]


@dataclass
class _Epoch:
    items: Int64Array  # [items]: which one is in each slot, slots sorted by row
    rows: Int64Array  # [rows_per_epoch]: the order of rows


def best_fit_decreasing(sizes: npt.NDArray[np.int64], capacity: int) -> tuple[Int64Array, Int64Array]:
    """Row and offset of each item: it goes where the least space is left that holds it, or into a new row.

    Best-fit decreasing needs at most 11/9 of the fewest rows possible, plus 4.

    Args:
        sizes: int64[items], in decreasing order, each from 1 to `capacity`.
    """
    rows = np.empty(sizes.size, dtype=np.int64)
    offsets = np.empty(sizes.size, dtype=np.int64)
    with_space: list[list[int]] = [[] for _ in range(capacity + 1)]
    spaces = 0  # bit s is set while a row has exactly s positions left
    used = 0
    for i, size in enumerate(sizes.tolist()):
        fitting = spaces >> size
        if fitting:
            space = size + (fitting & -fitting).bit_length() - 1
            row = with_space[space].pop()
            if not with_space[space]:
                spaces ^= 1 << space
        else:
            row, space, used = used, capacity, used + 1
        rows[i], offsets[i] = row, capacity - space
        if left := space - size:
            with_space[left].append(row)
            spaces |= 1 << left
    return rows, offsets
