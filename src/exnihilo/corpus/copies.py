"""Which spans of a text equal an earlier one of the same text."""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.first_equal import first_equal
from exnihilo.corpus.text_batch import Bools, Spans, TextBatch, mixed

_TEXT = np.uint64(0xA0761D6478BD642F)


def earlier_copies(batch: TextBatch, spans: Spans) -> Bools:
    """Of each span, whether the same characters stand in an earlier one of its text: bool[S]."""
    keys = mixed(batch.hashes(spans) + spans.text.astype(np.uint64) * _TEXT)
    copies: Bools = first_equal(keys) != np.arange(len(keys))
    return copies
