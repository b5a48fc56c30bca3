"""Lines, paragraphs or three sentences that many texts of a corpus hold, taken out of all, or of all but the first.

Lines: Llama 3 (arXiv 2407.21783) took out those that came more than 6 times in 30 million documents. Paragraphs:
CCNet (arXiv 1911.00359) kept one of each. Three sentences: C4 (arXiv 1910.10683) kept one of any such span. All are
the same two passes: `counted_spans` of each part of the corpus goes into a file (`key_runs.write_run`), the frequent
keys come out of these (`key_runs.frequent`), and the corpus is read again `without_repeats`.

Boilerplate repeats, but so does `return x`. So a span must have some letters, and one that begins with white space has
no key: in source code, tables and verse it says that the line belongs to what is around it. Files of source code are
not for this: their lines without indentation, such as imports, repeat with good reason.
"""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.character_classes import SPACE
from exnihilo.corpus.first_equal import first_equal
from exnihilo.corpus.key_runs import KeyCounts, counted
from exnihilo.corpus.text_batch import Bools, Int64, Spans, TextBatch, UInt64, mixed
from exnihilo.corpus.word_runs import WordRuns

LEAST_LETTERS = 16
"""Folded letters and digits: "All rights reserved" has 17, `return result` 12."""
_TEXT = np.uint64(0xA0761D6478BD642F)


def counted_spans(
    batch: TextBatch, spans: Spans, rank: UInt64, least: int = LEAST_LETTERS, *, every_copy: bool = False
) -> KeyCounts:
    """In how many texts of a batch each span is, as its folded words.

    Args:
        spans: `batch.lines`, `batch.paragraphs`, or `in_a_row(sentences(batch), 3)`.
        rank: uint64[n], of each text, from its id: the text with the least is a span's first, whatever the order.
        least: letters and digits of a span that counts.
        every_copy: copies in one text count, too, as for C4.
    """
    keys, has_key = _keys(batch, spans, least)
    return counted(keys[has_key], spans.text[has_key], rank, every_copy=every_copy)


def without_repeats(
    batch: TextBatch,
    spans: Spans,
    frequent: KeyCounts,
    least: int = LEAST_LETTERS,
    rank: UInt64 | None = None,
) -> list[str]:
    """The texts without frequent spans, and without the line feeds or blanks that these leave behind.

    With `rank`, as it was in `counted_spans`, the first copy in the first text stays; without it none. Where spans
    overlap, what belongs to a copy that stays is not taken out with another one.
    """
    keys, has_key = _keys(batch, spans, least)
    place = np.minimum(np.searchsorted(frequent.keys, keys), max(len(frequent.keys) - 1, 0))
    repeats = has_key & (frequent.keys[place] == keys) if len(frequent.keys) else np.zeros(len(keys), bool)
    stays = np.zeros(len(keys), dtype=bool)
    if rank is not None and len(frequent.keys):
        copies = first_equal(mixed(keys + spans.text.astype(np.uint64) * _TEXT))
        stays = repeats & (frequent.first[place] == rank[spans.text]) & (copies == np.arange(len(keys)))
    goes = repeats & ~stays
    start, end = spans.start[goes], _with_separator(batch, spans.start[goes], spans.end[goes])
    kept = ~_marked(batch, start, end) | _marked(batch, spans.start[stays], spans.end[stays])
    kept[batch.end] = True
    left = batch.codes[kept].tobytes().decode("utf-32-le", "surrogatepass")
    return left.split("\0")[:-1]


def _keys(batch: TextBatch, spans: Spans, least: int) -> tuple[UInt64, Bools]:
    """A hash of the folded words of each span, and whether it is one that counts: uint64[S], bool[S]."""
    runs = WordRuns(batch)
    begin, end = runs.inside(spans)
    letters = np.append(0, np.cumsum(runs.letters))
    return runs.keys(begin, end), (letters[end] - letters[begin] >= least) & ~batch.has(SPACE)[spans.start]


def _with_separator(batch: TextBatch, start: Int64, end: Int64) -> Int64:
    """Where the white space ends that goes with spans: of a line its line feed, of a paragraph all up to the next, and
    of sentences within a line the blanks."""
    codes = batch.codes
    feed = codes == ord("\n")
    edge = feed | (codes == 0)
    others = np.flatnonzero(~feed)
    solid = np.flatnonzero(edge | ~batch.has(SPACE))
    opens = (start == 0) | edge[start - 1]
    alone = opens & ((start < 2) | edge[start - 1] & (edge[start - 2] | (codes[start - 1] == 0)))
    after = others[np.searchsorted(others, end)]
    behind = np.where(alone & (after > end + 1), after, end + (opens & feed[end]))
    blanks = solid[np.searchsorted(solid, end)]
    return np.where(feed[end], behind, blanks)


def _marked(batch: TextBatch, start: Int64, end: Int64) -> Bools:
    """Which characters lie in any of the stretches, bool[N]."""
    edges = np.zeros(len(batch.codes) + 1, dtype=np.int32)
    np.add.at(edges, start, 1)
    np.add.at(edges, end, -1)
    inside: Bools = np.cumsum(edges)[:-1] > 0
    return inside
