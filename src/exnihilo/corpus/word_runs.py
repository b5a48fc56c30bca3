"""Runs of folded words of a batch, and their hashes: equal for what differs in nothing but case, signs and space."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from exnihilo.corpus.folded import fold
from exnihilo.corpus.text_batch import Int64, Spans, TextBatch, UInt64, mixed

_BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2**64
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)


class WordRuns:
    """The folded words of a batch, numbered through all of its texts, W of them.

    Attributes:
        batch: the batch as it was given.
        start, end: int64[W]: where each word stands in `batch`.
        first: int64[n + 1]: the words of text i are `first[i]` to `first[i + 1]`.
        letters: int64[W]: the folded letters and digits of each word.
        hashes: uint64[W]: of each word.
    """

    def __init__(self, batch: TextBatch) -> None:
        folded = fold(batch)
        words = folded.batch.words
        self.batch = batch
        self.start: Int64 = folded.origin[words.start]
        self.end: Int64 = folded.origin[words.end]
        self.first = words.first
        self.letters = words.length
        self.hashes = folded.batch.hashes(words)

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def count(self) -> Int64:
        """How many words each text has, int64[n]."""
        return np.diff(self.first)

    @cached_property
    def text(self) -> Int64:
        """The text of each word, int64[W]."""
        return np.repeat(np.arange(len(self.first) - 1), self.count)

    @cached_property
    def left(self) -> Int64:
        """Words from each one, itself included, to the end of its text: int64[W]."""
        return self.first[1:][self.text] - np.arange(len(self))

    def inside(self, spans: Spans) -> tuple[Int64, Int64]:
        """The words that spans of `batch` hold: the first of each and the one after its last, int64[S] twice."""
        return np.searchsorted(self.start, spans.start), np.searchsorted(self.start, spans.end)

    def keys(self, begin: Int64, end: Int64) -> UInt64:
        """A hash of each run of the words `begin` to `end` (not included): int64[R] twice to uint64[R].

        Equal for the same words in the same order, in whatever text and batch; of no words it is always the same.
        """
        return mixed((self._sums[end] - self._sums[begin]) * _powers(_BASE_INVERSE, len(self) + 1)[begin])

    def grams(self, n: int) -> UInt64:
        """`keys` of every n words in a row, also of those that reach into the next text: uint64[max(W - n + 1, 0)]."""
        sums = self._sums[n:] - self._sums[: max(len(self) + 1 - n, 0)]
        return mixed(sums * _powers(_BASE_INVERSE, len(sums)))

    @cached_property
    def _sums(self) -> UInt64:
        """Of each place i the sum of `hash * base ** j` over the words j before it, modulo 2**64."""
        weighted = self.hashes * _powers(_BASE, len(self))
        return np.concatenate([np.zeros(1, np.uint64), np.cumsum(weighted, dtype=np.uint64)])


def _powers(base: int, count: int) -> UInt64:
    return _power_table(base, 1 << max(count - 1, 1).bit_length())[:count]


@lru_cache(maxsize=4)
def _power_table(base: int, count: int) -> UInt64:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
