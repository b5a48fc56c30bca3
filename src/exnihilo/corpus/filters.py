"""Quality filters: measures of each text of a batch, and the limits beyond which it is rejected.

Where there is one, a measure follows Gopher's quality and repetition rules (arXiv 2112.11446, Table A1),
restated for any script and for source code: sizes in bytes, letters by Unicode category, no stop words.
"""

from __future__ import annotations

import re

import numpy as np

from exnihilo.corpus.character_classes import NUMBER, SPACE, WORD
from exnihilo.corpus.checks import Check, share
from exnihilo.corpus.copies import earlier_copies
from exnihilo.corpus.filter_config import FilterConfig
from exnihilo.corpus.text_batch import Bools, Int64, Spans, TextBatch

# A run of eight or more hexadecimal digits counts if it mixes letters and digits: "effaced" is a word.
_HEXADECIMAL = re.compile(
    r"\b0[xX][0-9a-fA-F]+\b|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
    r"|\b(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b"
)


def general_checks(batch: TextBatch, limits: FilterConfig) -> list[Check]:
    """The checks in the order in which a text is told why it is rejected.

    Shares are of what is not white space, and 0 of nothing. Lines are those that are not blank, without the white space
    around them.
    """
    bits = batch.classes
    solid = _in_each(batch, (bits & SPACE) == 0)
    number = (bits & NUMBER) > 0
    letter = ((bits & WORD) > 0) & ~number & (batch.codes != ord("_"))
    lines = batch.stripped(batch.lines)
    measured = (
        ("too short", _bytes(batch), limits.min_bytes, True),
        (
            "wrongly decoded",
            share(_in_each(batch, batch.codes == 0xFFFD), solid),
            limits.max_replacement,
            False,
        ),
        ("lines too long", share(lines.total(lines.length), lines.count), limits.max_line_length, False),
        ("hexadecimal data", share(_hexadecimal(batch), solid), limits.max_hexadecimal, False),
        ("mostly digits", share(_in_each(batch, number), solid), limits.max_digits, False),
        ("too few letters", share(_in_each(batch, letter), solid), limits.min_letters, True),
        (
            "repeated lines",
            share(lines.total(earlier_copies(batch, lines)), lines.count),
            limits.max_duplicate_lines,
            False,
        ),
    )
    return [
        Check(reason, value.astype(np.float64), limit, is_minimum)
        for reason, value, limit, is_minimum in measured
        if limit is not None
    ]


def _in_each(batch: TextBatch, chosen: Bools) -> Int64:
    """How many characters of each text are chosen (bool[N]), int64[n]."""
    places = np.flatnonzero(chosen)
    return np.searchsorted(places, batch.end) - np.searchsorted(places, batch.start)


def _bytes(batch: TextBatch) -> Int64:
    """Bytes of UTF-8 of each text without surrounding white space, int64[n]."""
    every = Spans(batch.start, batch.end, np.arange(len(batch) + 1))
    filled = every.where(_in_each(batch, (batch.classes & SPACE) == 0) > 0)
    texts = batch.stripped(filled)
    size = texts.length.copy()
    for first in (0x80, 0x800, 0x10000):  # the code points from which UTF-8 takes a byte more
        places = np.flatnonzero(batch.codes >= first)
        size += np.searchsorted(places, texts.end) - np.searchsorted(places, texts.start)
    return texts.total(size)


def _hexadecimal(batch: TextBatch) -> Int64:
    """Characters in hexadecimal numbers (0x1f, deadbeef01) and escapes (\\x1f, \\u00e9), int64[n]."""
    found = np.array([match.span() for match in _HEXADECIMAL.finditer(batch.joined)], dtype=np.int64).reshape(
        -1, 2
    )
    upto = np.append(0, np.cumsum(found[:, 1] - found[:, 0]))
    first = np.searchsorted(found[:, 0], np.append(batch.start, batch.end[-1:]))
    return np.diff(upto[first])
