"""How many of the tokens of evaluation items training text holds, after Llama 2 (arXiv 2307.09288, appendix A.6).

A token of an item is contaminated if it lies in a span of more than 10 tokens that training text holds, too. The two
may differ in up to four places of the span, but neither in its first 10 tokens nor in its last. An item is clean with
under 20 % of its tokens contaminated, not clean from 20 %, not dirty below 80 %, and dirty from 80 %.

Tokens are folded words here, so that neither side depends on a tokenizer, nor a hit on its case or punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exnihilo.corpus.evaluation_items import EvaluationItem
from exnihilo.corpus.grams import Grams
from exnihilo.corpus.text_batch import Bools, Int64, TextBatch
from exnihilo.corpus.word_runs import WordRuns

EXACT = 10
"""Tokens at the start of a span that are all equal; a span has more."""
SKIPPED = 4
CLEAN, DIRTY = 0.2, 0.8


class TokenOverlap:
    """The tokens of evaluation items, to be looked up in training text.

    Attributes:
        first: int64[items + 1]: the tokens of item i are `first[i]` to `first[i + 1]` of all T.
    """

    def __init__(self, items: Sequence[EvaluationItem]) -> None:
        """An item's tokens are those of its longest text."""
        texts = [max(one.texts, key=len).replace("\0", " ") for one in items]
        self._tokens = WordRuns(TextBatch.of(texts))
        self.first = self._tokens.first
        begins = np.flatnonzero(self._tokens.left >= EXACT)
        self._starts = Grams(self._tokens.keys(begins, begins + EXACT), begins)

    def contaminated(self, batch: TextBatch) -> Bools:
        """Which tokens of items the texts of a batch hold, bool[T]: of several batches, any of them counts."""
        runs = WordRuns(batch)
        key = self._starts.find(runs.grams(EXACT))
        at = np.flatnonzero(key >= 0)
        at = at[runs.left[at] >= EXACT]
        which, ours = self._starts.holders(key[at])
        return self._spread(runs, at[which], ours)

    def shares(self, contaminated: Bools) -> npt.NDArray[np.float64]:
        """The contaminated share of each item's tokens, float64[items]; 0 where it has none."""
        found = np.diff(np.append(0, np.cumsum(contaminated))[self.first])
        return found / np.maximum(np.diff(self.first), 1)

    def _spread(self, runs: WordRuns, theirs: Int64, ours: Int64) -> Bools:
        """Extend spans of 10 equal tokens, from `theirs` in the batch and `ours` in the items, token by token."""
        span = np.arange(len(ours))
        start, length = ours, np.full(len(ours), EXACT)
        skipped = np.zeros(len(ours), dtype=np.int64)
        step = EXACT
        while len(span):
            inside = (runs.left[theirs] > step) & (self._tokens.left[ours] > step)
            span, theirs, ours, skipped = span[inside], theirs[inside], ours[inside], skipped[inside]
            equal = runs.hashes[theirs + step] == self._tokens.hashes[ours + step]
            skipped = skipped + ~equal
            step += 1
            length[span[equal]] = step
            alive = skipped <= SKIPPED
            span, theirs, ours, skipped = span[alive], theirs[alive], ours[alive], skipped[alive]
        longer = length > EXACT
        edges = np.zeros(len(self._tokens) + 1, dtype=np.int64)
        np.add.at(edges, start[longer], 1)
        np.add.at(edges, (start + length)[longer], -1)
        covered: Bools = np.cumsum(edges)[:-1] > 0
        return covered


def verdict(share: float) -> str:
    """What Llama 2 calls an item with this share of contaminated tokens, in the narrowest of its words that fits."""
    if share < CLEAN:
        return "clean"
    return "dirty" if share >= DIRTY else "not clean, not dirty"
