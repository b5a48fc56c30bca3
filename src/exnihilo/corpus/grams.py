"""Which items hold which n-grams, by the hashes of these: a sorted array, and a table that turns most others away."""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.text_batch import Bools, Int64, UInt64


class Grams:
    """Hashes and the items that hold each.

    A search in a sorted array misses the cache at every step. So a table of a byte for each value of a hash's upper
    bits, at least 8 for each hash that is held, is asked before, which leaves an eighth of those that are not held.

    Attributes:
        keys: uint64[K], ascending.
        first: int64[K + 1]: the items of key k are `items[first[k] : first[k + 1]]`.
        items: int64[E].
    """

    def __init__(self, hashes: UInt64, items: Int64) -> None:
        """Of `hashes` uint64[P] and the item that each stands in, int64[P], repeated pairs counted once."""
        order = np.lexsort((items, hashes))
        hashes, items = hashes[order], items[order]
        new = np.append(True, (np.diff(hashes) != 0) | (np.diff(items) != 0))[: len(hashes)]
        hashes, self.items = hashes[new], items[new]
        starts = np.flatnonzero(np.append(True, np.diff(hashes) != 0)[: len(hashes)])
        self.keys: UInt64 = hashes[starts]
        self.first: Int64 = np.append(starts, len(hashes))
        bits = max(10, (8 * len(self.keys)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._held = np.zeros(1 << bits, dtype=bool)
        self._held[self._slots(self.keys)] = True

    def find(self, hashes: UInt64) -> Int64:
        """The place in `keys` of each hash, -1 where it is not held: int64[len(hashes)]."""
        places = np.full(len(hashes), -1)
        maybe = np.flatnonzero(self._held[self._slots(hashes)])
        if len(maybe):
            wanted = hashes[maybe]
            near = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
            same = self.keys[near] == wanted
            places[maybe[same]] = near[same]
        return places

    def holders(self, places: Int64) -> tuple[Int64, Int64]:
        """The items that hold each of the keys at `places` [P], as (index into `places`, item): int64[R] twice."""
        counts = self.first[places + 1] - self.first[places]
        which = np.repeat(np.arange(len(places)), counts)
        ends = np.cumsum(counts)
        within = np.arange(len(which)) - np.repeat(ends - counts, counts)
        return which, self.items[self.first[places][which] + within]

    def without(self, dropped: Bools) -> Grams:
        """The same without some keys, bool[K]."""
        which, items = self.holders(np.flatnonzero(~dropped))
        return Grams(self.keys[~dropped][which], items)

    def _slots(self, hashes: UInt64) -> Int64:
        return (hashes >> self._shift).view(np.int64)
