"""Of the documents of one address, which one stays."""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.newest_pages import newest


def test_the_newest_stays_then_the_smallest_id() -> None:
    keys = np.array([7, 7, 9, 7, 9, 1], dtype=np.uint64)
    dates = np.array([1, 3, 5, 3, 5, 0])
    ids = ["a", "c", "z", "b", "y", "x"]
    kept = {ids[i] for i in np.flatnonzero(newest(keys, dates, ids))}
    assert kept == {"b", "y", "x"}
    back = np.arange(5, -1, -1)
    again = newest(keys[back], dates[back], ids[::-1])
    assert {ids[::-1][i] for i in np.flatnonzero(again)} == kept
    assert len(newest(keys[:0], dates[:0], [])) == 0
