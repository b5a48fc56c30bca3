"""What Kneser-Ney smoothing counts: words in threes, and in how many different surroundings words and pairs stand.

Words are hashes of folded words. Two marks go before each text, so that every word has two before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exnihilo.corpus.folded import fold
from exnihilo.corpus.text_batch import Int64, TextBatch, UInt64, mixed

UInt32 = npt.NDArray[np.uint32]

_BASE = np.uint64(0xD6E8FEB86659FD93)  # odd: the place of a word counts
_BEGIN = np.uint64(0x5851F42D4C957F2D)  # stands for the mark before a text
_MOST = 0xFFFFFFFF
CHARACTERS = 1 << 20  # of the texts that are gone through at once


@dataclass(frozen=True)
class Table:
    """Keys, ascending, uint64[n], and what is counted of each, uint32[n, k]."""

    keys: UInt64
    counts: UInt32

    def look_up(self, keys: UInt64) -> Int64:
        """The counts of each key, zeros where there is none, int64[m, k]."""
        found = np.zeros((len(keys), self.counts.shape[1]), dtype=np.int64)
        order = np.argsort(keys)  # ascending questions stay in the cache
        place = np.searchsorted(self.keys, keys[order])
        place = np.minimum(place, max(len(self.keys) - 1, 0))
        hit = self.keys[place] == keys[order] if len(self.keys) else np.zeros(len(keys), dtype=bool)
        found[order[hit]] = self.counts[place[hit]]
        return found


@dataclass(frozen=True)
class Triples:
    """Every word of some texts with the two before it.

    Attributes:
        text: int64[N], the number of the text.
        triple, before, pair, last_before, word: uint64[N]: the keys of all three words, of the two before, of the last
            two, of the one before, and of the word.
    """

    text: Int64
    triple: UInt64
    before: UInt64
    pair: UInt64
    last_before: UInt64
    word: UInt64

    @classmethod
    def of(cls, texts: Sequence[str]) -> Triples:
        folded = fold(TextBatch.of(texts)).batch
        spans = folded.words
        word = folded.hashes(spans)
        begins = np.zeros(len(word), dtype=bool)
        begins[spans.first[:-1][spans.count > 0]] = True
        one = np.where(begins, _BEGIN, np.append(_BEGIN, word[:-1]))
        two = np.where(begins, _BEGIN, np.append(_BEGIN, one[:-1]))
        before = _pair(two, one)
        return cls(spans.text, _pair(before, word), before, _pair(one, word), one, word)


@dataclass(frozen=True)
class Counts:
    """The three tables.

    Attributes:
        triples: how often.
        pairs: how many different words stand before; how often something follows, and how many different words do.
        words: how many different words stand before; of the pairs that begin with it, the sum of what stands before
            them, and how many they are.
    """

    triples: Table
    pairs: Table
    words: Table


def count(texts: Iterable[str]) -> Counts:
    """Count all texts. What is held in memory grows with the different triples, 32 bytes for each and as much again
    while they are put together."""
    triples, pairs = _Sums(), _Sums()
    for piece in in_pieces(texts):
        new = Triples.of(piece)
        triples.add(np.stack([new.triple, new.before, new.pair]))
        pairs.add(np.stack([new.pair, new.last_before, new.word]))
    (triple, before, pair), often = triples.total()
    ones = np.ones(len(triple), dtype=np.int64)
    pair_table = _table([(pair, ones), (before, often), (before, ones)])
    (both, first, last), _ = pairs.total()
    ahead = pair_table.look_up(both)[:, 0]
    ones = np.ones(len(both), dtype=np.int64)
    return Counts(
        Table(triple, np.minimum(often, _MOST).astype(np.uint32)[:, None]),
        pair_table,
        _table([(last, ones), (first, ahead), (first, ones)]),
    )


def in_pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive texts of a million characters together."""
    piece: list[str] = []
    size = 0
    for text in texts:
        piece.append(text)
        size += len(text)
        if size >= CHARACTERS:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _pair(first: UInt64, second: UInt64) -> UInt64:
    return mixed(first * _BASE + second)


class _Sums:
    """How often columns uint64[3, n] came, by their first row. What is new is put together with the rest only when it
    is as much, so that every column is sorted a few times and no more."""

    def __init__(self) -> None:
        self._parts = [(np.zeros((3, 0), dtype=np.uint64), np.zeros(0, dtype=np.int64))]

    def add(self, columns: UInt64) -> None:
        self._parts.append(_distinct(columns, np.ones(columns.shape[1], dtype=np.int64)))
        if sum(len(often) for _, often in self._parts[1:]) > len(self._parts[0][1]):
            self._parts = [self.total()]

    def total(self) -> tuple[UInt64, Int64]:
        """The different columns, ascending in the first row, and how often each came."""
        columns, often = zip(*self._parts, strict=True)
        return _distinct(np.concatenate(columns, axis=1), np.concatenate(often))


def _distinct(columns: UInt64, often: Int64) -> tuple[UInt64, Int64]:
    if not len(often):
        return columns, often
    order = np.argsort(columns[0], kind="stable")
    columns = columns[:, order]
    begins = np.flatnonzero(np.append(True, columns[0, 1:] != columns[0, :-1]))
    return columns[:, begins], np.add.reduceat(often[order], begins)


def _table(columns: list[tuple[UInt64, Int64]]) -> Table:
    """A table of all keys; each column is the sum of values by key."""
    keys = np.unique(np.concatenate([key for key, _ in columns]))
    counts = np.zeros((len(keys), len(columns)), dtype=np.uint32)
    for i, (key, values) in enumerate(columns):
        sums = np.bincount(np.searchsorted(keys, key), values, len(keys))
        counts[:, i] = np.minimum(sums, _MOST)
    return Table(keys, counts)
