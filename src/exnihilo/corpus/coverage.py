"""Items of which a text holds many n-grams close together, in whatever order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exnihilo.corpus.grams import Grams
from exnihilo.corpus.text_batch import Int64
from exnihilo.corpus.word_runs import WordRuns


def covered(
    runs: WordRuns,
    places: Int64,
    grams: Grams,
    words: Int64,
    total: Int64,
    needed: npt.NDArray[np.float64],
) -> tuple[Int64, Int64, Int64, npt.NDArray[np.float64]]:
    """Where texts hold at least `needed` [items] different n-grams of an item close together.

    A text is covered by windows twice as long as the item, each of which half overlaps the next: whatever is no longer
    than the item lies within one of them.

    Args:
        runs: the words of the texts, W of them.
        places: int64[W]: the place in `grams` of the n-gram that begins at each word, -1 for one that doesn't count.
        words, total: int64[items]: the words of each item, and those of its different n-grams that count.

    Returns:
        Of each window that holds enough: the first words of its first and of its last n-gram, the item, and the share
        of the item's n-grams, [A] each. A place may be in two windows.
    """
    at = np.flatnonzero(places >= 0)
    which, item = grams.holders(places[at])
    at = at[which]
    begins = runs.first[runs.text[at]]
    window = (at - begins) // words[item]
    both = np.append(window, window - 1)
    exists = both >= 0
    # A window's number, counted on from its text's first word, is that of no window of another text.
    group = (np.tile(item, 2) * (len(runs) + 1) + both + np.tile(begins, 2))[exists]
    at, item = np.tile(at, 2)[exists], np.tile(item, 2)[exists]
    # Nearly all windows have too few n-grams, even if no two of these are equal: they go first.
    _, group, count = np.unique(group, return_inverse=True, return_counts=True)
    dense = count[group] >= needed[item]
    at, item, group = at[dense], item[dense], group[dense]
    if not len(at):
        return at, at, item, np.zeros(0)
    order = np.lexsort((places[at], group))
    at, item, group = at[order], item[order], group[order]
    new_group = np.append(True, np.diff(group) != 0)
    starts = np.flatnonzero(new_group)
    differs = new_group | np.append(True, np.diff(places[at]) != 0)
    distinct = np.add.reduceat(differs, starts, dtype=np.int64)
    item = item[starts]
    found = distinct >= needed[item]
    share = distinct / total[item]
    begin, last = np.minimum.reduceat(at, starts), np.maximum.reduceat(at, starts)
    return begin[found], last[found], item[found], share[found]


def joined(begin: Int64, end: Int64, holder: Int64) -> tuple[Int64, Int64, Int64]:
    """Stretches `begin` to `end` of one holder that overlap, as one: int64[R] three times, and fewer of each."""
    order = np.lexsort((begin, holder))
    begin, end, holder = begin[order], end[order], holder[order]
    new = np.append(True, (np.diff(holder) != 0) | (begin[1:] >= end[:-1]))[: len(begin)]
    last = np.append(new[1:], True)[: len(begin)]
    return begin[new], end[last], holder[new]
