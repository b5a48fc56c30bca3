"""Sentences of a batch, and several in a row."""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.character_classes import SPACE, TERMINAL
from exnihilo.corpus.text_batch import Spans, TextBatch

_CLOSERS = np.array([ord(character) for character in "\"')]»”’"], dtype=np.uint32)
_WITHOUT_SPACE = np.array(
    [ord(character) for character in "。！？｡．"], dtype=np.uint32
)  # the next follows at once


def sentences(batch: TextBatch) -> Spans:
    """Stretches of lines up to a mark that ends a sentence, quotes and brackets behind it included, before white space;
    what follows a line's last mark is one, too. White space at both ends belongs to none."""
    codes = batch.codes
    done = batch.has(TERMINAL) | (codes == ord("…"))
    closer = np.isin(codes, _CLOSERS)
    for _ in range(2):  # of `."` and `.')` the last one ends the sentence
        done[1:] |= done[:-1] & closer[1:]
    last = done & np.append(batch.has(SPACE)[1:], True) | np.isin(codes, _WITHOUT_SPACE)
    lines = batch.lines
    start = np.union1d(lines.start, np.flatnonzero(last) + 1)
    line = np.searchsorted(lines.start, start, "right") - 1
    within = (line >= 0) & (start < lines.end[np.maximum(line, 0)]) if len(lines.end) else start < 0
    start, line = start[within], line[within]
    end = np.minimum(np.append(start[1:], len(codes)), lines.end[line])
    spans = Spans(start, end, np.append(np.searchsorted(start, batch.start), len(start)))
    return batch.stripped(spans.where(batch.within(SPACE, spans) < spans.length))


def in_a_row(spans: Spans, n: int) -> Spans:
    """Every `n` consecutive spans of a text as one, overlapping; none of a text that has fewer."""
    whole = np.arange(len(spans.start)) + n <= spans.first[1:][spans.text]
    begins = np.flatnonzero(whole)
    return Spans(spans.start[begins], spans.end[begins + n - 1], np.append(0, np.cumsum(whole))[spans.first])
