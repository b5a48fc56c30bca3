"""FineWeb's own rules of quality (arXiv 2406.17557, section 3.6), over a batch of texts.

They exist twice: the paper has three, and 0.1 as the largest share of characters in repeated lines; the code that made
the dataset has 0.01 there, and a fourth rule, of line feeds to words.
"""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.character_classes import TERMINAL
from exnihilo.corpus.checks import Check, share
from exnihilo.corpus.copies import earlier_copies
from exnihilo.corpus.fineweb_config import FineWebLimits
from exnihilo.corpus.text_batch import TextBatch


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
