"""Adjacent pairs of symbols in weighted words, counted once and kept up to date while pairs are merged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

Pair = tuple[int, int]


class Pairs:
    """Words as sequences of symbols, each with how often it occurs, and the counts that a merge is chosen by.

    Counts are Python's integers, which don't overflow (tok-2). A merge looks only at the words that hold its pair:
    counting everything again after each merge would take vocabulary x text.
    """

    def __init__(self, words: Iterable[tuple[Sequence[int], int]]) -> None:
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        """How often two symbols stand side by side; no pair in it has count 0."""
        self.symbols: defaultdict[int, int] = defaultdict(int)
        """How often a symbol occurs."""
        self.total = 0
        """How many symbols there are in all."""
        self._words: list[Sequence[int]] = []
        self._weights: list[int] = []
        self._where: defaultdict[Pair, set[int]] = defaultdict(set)
        self._beside: defaultdict[int, set[Pair]] = defaultdict(set)
        for symbols, weight in words:
            self._words.append(symbols)
            self._weights.append(weight)
            self._count(len(self._words) - 1, symbols, weight)

    def merge(self, pair: Pair, merged: int) -> set[Pair]:
        """Replace the pair by one symbol, from left to right in every word.

        Gives the pairs of which the count, or the count of one of their symbols, is another now.
        """
        before = {symbol: self.symbols[symbol] for symbol in (*pair, merged)}
        changed: set[Pair] = set()
        for number in sorted(self._where[pair]):
            old, weight = self._words[number], self._weights[number]
            new = _replaced(old, pair, merged)
            changed.update(pairwise(old), pairwise(new))
            self._count(number, old, -weight)
            self._count(number, new, weight)
            self._words[number] = new
        for symbol, count in before.items():
            if self.symbols[symbol] != count:
                changed |= self._beside[symbol]
        return {one for one in changed if one in self.counts}

    def _count(self, number: int, symbols: Sequence[int], weight: int) -> None:
        self.total += len(symbols) * weight
        for symbol in symbols:
            self.symbols[symbol] += weight
        for pair in pairwise(symbols):
            self.counts[pair] += weight
        for pair in set(pairwise(symbols)):
            if weight > 0:
                self._where[pair].add(number)
                self._beside[pair[0]].add(pair)
                self._beside[pair[1]].add(pair)
                continue
            self._where[pair].discard(number)
            if not self._where[pair]:
                del self._where[pair], self.counts[pair]
                self._beside[pair[0]].discard(pair)
                self._beside[pair[1]].discard(pair)


def _replaced(symbols: Sequence[int], pair: Pair, merged: int) -> list[int]:
    out: list[int] = []
    at = 0
    while at < len(symbols):
        if tuple(symbols[at : at + 2]) == pair:
            out.append(merged)
            at += 2
        else:
            out.append(symbols[at])
            at += 1
    return out
