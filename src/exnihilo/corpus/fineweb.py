"""FineWeb's own rules of quality (arXiv 2406.17557, section 3.6), over a batch of texts.

They exist twice: the paper has three, and 0.1 as the largest share of characters in repeated lines; the code that made
the dataset has 0.01 there, and a fourth rule, of line feeds to words.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from exnihilo.core.config import Config, why
from exnihilo.corpus.character_classes import TERMINAL
from exnihilo.corpus.checks import Check, share
from exnihilo.corpus.copies import earlier_copies
from exnihilo.corpus.text_batch import TextBatch


class FineWebLimits(Config):
    """FineWeb's limits, as its code has them; null turns a rule off."""

    min_finished_lines: float | None = Field(
        0.12,
        ge=0,
        le=1,
        description="least share of lines that end with a mark that ends a sentence",
        json_schema_extra=why(
            "0.12, in the paper and in the code: below it are lists and tables", example="0.3"
        ),
    )
    max_short_lines: float | None = Field(
        0.67,
        ge=0,
        le=1,
        description="largest share of lines of at most `short_line` characters",
        json_schema_extra=why(
            "0.67, in the paper and in the code: above it are menus and poems", example="0.9"
        ),
    )
    short_line: int = Field(
        30,
        ge=1,
        description="characters up to which a line is short",
        json_schema_extra=why(
            "30, in the paper and in the code; in Chinese 30 are a long line", example="12"
        ),
    )
    max_repeated_characters: float | None = Field(
        0.01,
        ge=0,
        le=1,
        description="largest share of characters in lines that stand before in the text",
        json_schema_extra=why(
            "0.01, as the code has it that made the dataset; the paper says 0.1, which keeps more",
            example="0.1",
        ),
    )
    max_line_feeds: float | None = Field(
        0.3,
        ge=0,
        description="most line feeds for each word",
        json_schema_extra=why("0.3, as the code has it; the paper does not name this rule", example="0.5"),
    )


def fineweb_quality(batch: TextBatch, limits: FineWebLimits) -> list[Check]:
    """The checks in FineWeb's order, of the paper's variant where `max_repeated_characters` is 0.1 and `max_line_feeds`
    None. Lines are those that are not blank."""
    lines = batch.lines
    finished = (batch.classes[lines.end - 1] & TERMINAL) > 0
    repeated = np.where(earlier_copies(batch, lines), lines.length, 0)
    feeds = np.flatnonzero(batch.codes == ord("\n"))
    line_feeds = np.searchsorted(feeds, batch.end) - np.searchsorted(feeds, batch.start)
    measured = (
        (
            "fineweb: unfinished lines",
            share(lines.total(finished), lines.count),
            limits.min_finished_lines,
            True,
        ),
        (
            "fineweb: short lines",
            share(lines.total(lines.length <= limits.short_line), lines.count),
            limits.max_short_lines,
            False,
        ),
        (
            "fineweb: characters of repeated lines",
            share(lines.total(repeated), batch.length - line_feeds),
            limits.max_repeated_characters,
            False,
        ),
        ("fineweb: line feeds", share(line_feeds, batch.words.count), limits.max_line_feeds, False),
    )
    return [
        Check(reason, value, limit, is_minimum)
        for reason, value, limit, is_minimum in measured
        if limit is not None
    ]
