"""Quality filters: measures of each text of a batch, and the limits beyond which it is rejected.

Where there is one, a measure follows Gopher's quality and repetition rules (arXiv 2112.11446, Table A1),
restated for any script and for source code: sizes in bytes, letters by Unicode category, no stop words.
"""

from __future__ import annotations

import re

import numpy as np
from pydantic import Field

from exnihilo.core.config import Config, Count, why
from exnihilo.corpus.character_classes import NUMBER, SPACE, WORD
from exnihilo.corpus.checks import Check, share
from exnihilo.corpus.copies import earlier_copies
from exnihilo.corpus.text_batch import Bools, Int64, Spans, TextBatch


class FilterConfig(Config):
    """Limits; a text exactly at a limit is kept, and null turns a filter off."""

    min_bytes: Count | None = Field(
        default=24,
        ge=0,
        description="least bytes of UTF-8 without surrounding white space",
        json_schema_extra=why(
            "24: shorter texts are titles and leftovers. Bytes and not words, so that it holds in any script",
            example="200",
        ),
    )
    max_line_length: float | None = Field(
        default=20_000,
        ge=0,
        description="longest mean line, in characters: above it are blobs and tables on one line",
        json_schema_extra=why(
            "20,000 characters on a mean line are minified code, tables and encoded data, never prose; "
            "prose without line ends stays"
        ),
    )
    min_letters: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="least share of letters (of any script) in what is not white space",
        json_schema_extra=why(
            "0.4 leaves room for source code, whose brackets and operators count against it; Gopher, "
            "made for prose, asks that 80 % of words have a letter (arXiv 2112.11446)"
        ),
    )
    max_digits: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="largest share of digits in what is not white space: above it are data tables",
        json_schema_extra=why("0.4: code and prose are far below it, tables of numbers far above"),
    )
    max_hexadecimal: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="largest share of hexadecimal numbers and escapes: above it is generated data",
        json_schema_extra=why("0.4: a text with a key or a hash stays, one that is mostly encoded data goes"),
    )
    max_duplicate_lines: float | None = Field(
        default=0.7,
        ge=0,
        le=1,
        description="largest share of lines that repeat an earlier line of the same text",
        json_schema_extra=why(
            "0.7: above Gopher's 0.3 (arXiv 2112.11446), since source code rightly repeats short lines"
        ),
    )
    max_replacement: float | None = Field(
        default=0.002,
        ge=0,
        le=1,
        description="largest share of U+FFFD, which marks text that was decoded wrongly",
        json_schema_extra=why(
            "0.002: one character in five hundred that could not be decoded means that all of the text "
            "was read in a wrong encoding"
        ),
    )


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
