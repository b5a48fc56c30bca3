"""Items of evaluation sets in training text, by n-grams (GPT-3, arXiv 2005.14165, appendix C) and by coverage.

An item is found where a text holds
- **verbatim** one of its n-grams, or all of it where it has fewer words; an item that is so short that ordinary prose
  holds it by chance ("What is it?") only as a whole line, or several, of its own;
- **altered** so large a share of its 5-grams close together (`coverage`) that it is the item with some words changed.
  One changed word in ten leaves few runs of 13 words, but each takes no more than five 5-grams.

Words are folded (`folded`), on both sides by the same code. The limits were measured: 900 items of ten sets, of 26 to
400 words, a tenth of them replaced, were put into film reviews. Of those under 50 words 80 % still had a 13-gram, and
98.9 % had 0.35 of their 5-grams; of their 8-grams 3.5 % had not even 0.1. In 58 MB of prose, standards and speeches
seven speeches, most of which the items quote, had 0.3 of an item, and nothing else; no item of 5 to 12 words stood
there by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.coverage import covered, joined
from exnihilo.corpus.evaluation_items import EvaluationItem, gpt3_words
from exnihilo.corpus.grams import Grams
from exnihilo.corpus.text_batch import Bools, Int64, TextBatch, UInt64
from exnihilo.corpus.word_runs import WordRuns

NGRAM = 13
SEED = 5
"""Words of the n-grams whose share counts. Every longer run begins and ends with one: they are looked up first."""
LEAST_WORDS = 6
LEAST_LETTERS = 24
"""Items with less of either are found as whole lines only: "water", "What does this mean?"."""
LEAST_SHARE = 0.35
LEAST_FOUND = 6
"""5-grams of an item that a text must hold for it to be found altered: a share, and a number for short items."""
COMMON = 50
"""5-grams of more items than this, such as "which of the following is", are their set's manner and tell nothing of an
item: they don't count for its share. So a page of a hundred such questions is not compared with thousands."""
_TEXTS = 4096  # at once, when the index is built


@dataclass(frozen=True)
class Hits:
    """Places of a batch that hold items, H of them, ordered by text, item and place.

    Attributes:
        text, item: int64[H].
        start, end: int64[H]: characters of the batch; at most twice an item's words where it is altered.
        share: float64[H]: of the item's words in this run, or where `altered` of its 5-grams.
        altered: bool[H].
    """

    text: Int64
    item: Int64
    start: Int64
    end: Int64
    share: npt.NDArray[np.float64]
    altered: Bools


class Index:
    """What finds the items of evaluation sets in batches of training text. Of an item, its n-grams' hashes are held."""

    def __init__(self, items: Sequence[EvaluationItem], ngram: int | None = NGRAM) -> None:
        """With `ngram` None each set has the n that GPT-3's rule gives it (`gpt3_words`), else all have the same.

        Raises ConfigError for an n of less than 6.
        """
        if ngram is not None and ngram < LEAST_WORDS:
            raise ConfigError(f"ngram {ngram}: so few words are shared by chance; give {LEAST_WORDS} or more")
        self.items = tuple(items)
        # An item has a number for each way to write it, and these are what `_runs`, `_lines` and `_seeds` hold.
        self.item = np.repeat(np.arange(len(items)), [len(one.texts) for one in items])
        texts = [text.replace("\0", " ") for one in items for text in one.texts]
        parts = [WordRuns(TextBatch.of(texts[i : i + _TEXTS])) for i in range(0, len(texts), _TEXTS)]
        none = np.zeros(0, np.int64)
        self.words = np.concatenate([none, *(runs.count for runs in parts)])
        letters = np.concatenate([none, *(_by_text(runs, runs.letters) for runs in parts)])
        lengths = np.minimum(self.words, self._ngrams(ngram))
        short = (self.words < NGRAM) & ((self.words < LEAST_WORDS) | (letters < LEAST_LETTERS))
        short &= self.words < self._ngrams(ngram)
        self._lengths = np.unique(lengths[~short])
        self._line_lengths = np.unique(lengths[short & (self.words > 0)])
        self._runs = _grams(parts, np.where(short, 0, lengths))
        self._lines = _grams(parts, np.where(short, lengths, 0))
        self._seeds = _grams(parts, np.where(short, 0, SEED))
        holders = np.diff(self._seeds.first)
        self._tells = holders <= COMMON
        self._total = np.bincount(self._seeds.items[np.repeat(self._tells, holders)], minlength=len(texts))
        self._needed = np.maximum(np.ceil(LEAST_SHARE * self._total), LEAST_FOUND)

    def search(self, batch: TextBatch) -> Hits:
        """Every item that texts of the batch hold, and where."""
        runs = WordRuns(batch)
        seeds = self._find_seeds(runs)
        at, key, length = self._find_runs(runs, seeds)
        which, written = self._runs.holders(key)
        begin, end, written = joined(at[which], (at + length)[which], written)
        line, line_end, line_key = self._find_lines(runs)
        which, short = self._lines.holders(line_key)
        begin, end = np.append(begin, line[which]), np.append(end, line_end[which])
        written = np.append(written, short)
        verbatim = np.minimum((end - begin) / self.words[written], 1.0)
        telling = np.append(self._tells, False)[seeds]  # the last is that of -1
        altered_begin, altered_last, altered, share = covered(
            runs, np.where(telling, seeds, -1), self._seeds, self.words, self._total, self._needed
        )
        begin, end = np.append(begin, altered_begin), np.append(end, altered_last + SEED)
        written = np.append(written, altered)
        text, item = runs.text[begin], self.item[written]
        is_altered = np.arange(len(begin)) >= len(verbatim)
        order = np.lexsort((end, begin, is_altered, item, text))
        return Hits(
            text[order], item[order], runs.start[begin][order], runs.end[end - 1][order],
            np.append(verbatim, share)[order], is_altered[order],
        )  # fmt: skip

    def documents(self, batch: TextBatch) -> Int64:
        """How many texts of the batch hold each n-gram of the index: summed over all batches, what `without` needs."""
        runs = WordRuns(batch)
        at, key, _ = self._find_runs(runs, self._find_seeds(runs))
        pairs = np.unique(runs.text[at] * len(self._runs.keys) + key)
        return np.bincount(pairs % max(len(self._runs.keys), 1), minlength=len(self._runs.keys))

    def without(self, common: Bools) -> Index:
        """The same index without some n-grams, a bool for each. GPT-3 ignored those of more than 10 training documents:
        `index.without(documents > 10)`. Altered items, and lines, are found as before."""
        index = object.__new__(Index)
        index.__dict__.update(self.__dict__)
        index._runs = self._runs.without(common)
        return index

    def _ngrams(self, ngram: int | None) -> Int64:
        """The n of each way to write an item."""
        if ngram is not None:
            return np.full(len(self.words), ngram)
        names = np.array([self.items[i].set for i in self.item])
        n = np.full(len(self.words), NGRAM)
        for name in np.unique(names):
            n[names == name] = gpt3_words(self.words[names == name])
        return n

    def _find_seeds(self, runs: WordRuns) -> Int64:
        """The place in `_seeds` of the 5-gram that begins at each word, -1 for none: int64[W]."""
        seeds = np.full(len(runs), -1)
        found = self._seeds.find(runs.grams(SEED))
        seeds[: len(found)] = np.where(runs.left[: len(found)] >= SEED, found, -1)
        return seeds

    def _find_runs(self, runs: WordRuns, seeds: Int64) -> tuple[Int64, Int64, Int64]:
        """Where n-grams of the index begin, their places in `_runs`, and their n: int64[R] three times."""
        none = np.zeros(0, np.int64)
        found = [(none, none, none)]
        begins = np.flatnonzero(seeds >= 0)
        for n in self._lengths.tolist():
            at = begins[runs.left[begins] >= n]
            at = at[seeds[at + n - SEED] >= 0]
            key = self._runs.find(runs.keys(at, at + n))
            at, key = at[key >= 0], key[key >= 0]
            found.append((at, key, np.full(len(at), n)))
        at, key, length = map(np.concatenate, zip(*found, strict=True))
        return at, key, length

    def _find_lines(self, runs: WordRuns) -> tuple[Int64, Int64, Int64]:
        """Where short items stand as whole lines, first word and end, and their places in `_lines`: int64[R] thrice."""
        none = np.zeros(0, np.int64)
        found = [(none, none, none)]
        is_edge = np.zeros(len(runs) + 1, dtype=bool)
        is_edge[np.searchsorted(runs.start, runs.batch.lines.start)] = True
        is_edge[runs.first] = True
        begins = np.flatnonzero(is_edge[:-1])
        for n in self._line_lengths.tolist():
            at = begins[runs.left[begins] >= n]
            at = at[is_edge[at + n]]
            key = self._lines.find(runs.keys(at, at + n))
            at, key = at[key >= 0], key[key >= 0]
            found.append((at, at + n, key))
        at, end, key = map(np.concatenate, zip(*found, strict=True))
        return at, end, key


def _grams(parts: Sequence[WordRuns], lengths: Int64) -> Grams:
    """Every run of `lengths[i]` words of text i, none where that is 0, over all parts."""
    hashes: list[UInt64] = [np.zeros(0, np.uint64)]
    holders = [np.zeros(0, np.int64)]
    before = 0
    for runs in parts:
        n = lengths[before : before + len(runs.count)][runs.text]
        begin = np.flatnonzero((n > 0) & (runs.left >= n))
        hashes.append(runs.keys(begin, begin + n[begin]))
        holders.append(runs.text[begin] + before)
        before += len(runs.count)
    return Grams(np.concatenate(hashes), np.concatenate(holders))


def _by_text(runs: WordRuns, values: Int64) -> Int64:
    """The sum of `values` int64[W] over the words of each text, int64[n]."""
    return np.diff(np.append(0, np.cumsum(values))[runs.first])
