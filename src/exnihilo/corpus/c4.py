"""C4's rules (arXiv 1910.10683, section 2.2), over a batch of texts: lines that go, and texts that go whole.

The order is that of the code that made C4: a line that goes by an earlier rule can't condemn its text by a later one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from exnihilo.corpus.c4_config import C4Limits
from exnihilo.corpus.character_classes import SPACE, TERMINAL
from exnihilo.corpus.checks import Check
from exnihilo.corpus.text_batch import Bools, Int64, Spans, TextBatch

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_ENDS = ".?!\"'"
_CLOSERS = "\"')]»”’"
_WITHOUT_SPACE = "。！？｡．"  # sentences follow these at once


@dataclass(frozen=True)
class Cleaned:
    """What C4's rules made of a batch: the texts with the lines that stay, the checks, and lines removed by reason."""

    texts: list[str]
    checks: list[Check]
    lines: dict[str, int]


def c4_quality(texts: Sequence[str], limits: C4Limits) -> Cleaned:
    """Take out the lines that C4's rules take out, and check what is left of each text."""
    if limits.citations:
        texts = [_CITATION.sub("", text) if "[" in text else text for text in texts]
    batch = TextBatch.of(texts)
    lines = batch.stripped(batch.lines)
    live = np.ones(len(lines.start), dtype=bool)
    removed: dict[str, int] = {}

    def remove(reason: str, which: Bools) -> None:
        nonlocal live
        removed[reason] = int((live & which).sum())
        live = live & ~which

    chunks = batch.chunks
    begin = np.searchsorted(chunks.start, lines.start)
    count = np.searchsorted(chunks.start, lines.end) - begin
    if limits.max_word is not None:
        long = np.flatnonzero(chunks.length > limits.max_word)
        remove("c4: a word too long", np.searchsorted(long, begin) < np.searchsorted(long, begin + count))
    if limits.finished_lines:
        remove("c4: unfinished line", ~_finished(batch, lines))
    if limits.min_words is not None:
        remove("c4: too few words in a line", count < limits.min_words)
    checks = []
    for phrase in limits.texts_without:
        found = lines.total(live & _holds(batch, lines, phrase))
        checks.append(Check(f"c4: holds '{phrase}'", found.astype(np.float64), 0))
    for phrase in limits.lines_without:
        remove(f"c4: line holds '{phrase}'", _holds(batch, lines, phrase))
    if limits.min_sentences is not None:
        sentences = lines.total(np.where(live, sentence_counts(batch, lines), 0)).astype(np.float64)
        checks.append(Check("c4: too few sentences", sentences, limits.min_sentences, is_minimum=True))
    return Cleaned(list(_joined(batch, lines.where(live))), checks, removed)


def sentence_counts(batch: TextBatch, spans: Spans) -> Int64:
    """Sentences of each span: stretches up to a mark that ends one, with quotes and brackets behind it, before white
    space; what follows the last mark is one, too. int64[S]."""
    codes, space = batch.codes, batch.has(SPACE)
    stop = batch.has(TERMINAL) | (codes == ord("…"))
    closer = np.isin(codes, np.array([ord(character) for character in _CLOSERS], dtype=np.uint32))
    done = stop.copy()
    for _ in range(2):  # of `."` and `.')` the last one ends the sentence
        done[1:] |= done[:-1] & closer[1:]
    last = done & np.append(space[1:], True)
    last |= np.isin(codes, np.array([ord(character) for character in _WITHOUT_SPACE], dtype=np.uint32))
    ends = np.flatnonzero(last)
    inside = np.searchsorted(ends, spans.end) - np.searchsorted(ends, spans.start)
    sentences: Int64 = inside + ~last[spans.end - 1]
    return sentences


def _finished(batch: TextBatch, lines: Spans) -> Bools:
    last = batch.codes[lines.end - 1]
    finished = np.isin(last, np.array([ord(character) for character in _ENDS], dtype=np.uint32))
    dot = batch.codes == ord(".")
    back = np.maximum(lines.end - 1, 2)
    cut: Bools = (lines.length > 2) & dot[back] & dot[back - 1] & dot[back - 2]
    return finished & ~cut


def _holds(batch: TextBatch, lines: Spans, phrase: str) -> Bools:
    """Which lines hold a phrase, in either case, bool[S]."""
    places = np.fromiter(_found(batch, phrase), np.int64)
    return np.searchsorted(places, lines.start) < np.searchsorted(places, lines.end)


def _found(batch: TextBatch, phrase: str) -> Iterator[int]:
    at = batch.lowered.find(phrase)
    while at >= 0:
        yield at
        at = batch.lowered.find(phrase, at + 1)


def _joined(batch: TextBatch, lines: Spans) -> Iterator[str]:
    for low, high in pairwise(lines.first.tolist()):
        spans = zip(lines.start[low:high].tolist(), lines.end[low:high].tolist(), strict=True)
        yield "\n".join(batch.joined[start:end] for start, end in spans)
