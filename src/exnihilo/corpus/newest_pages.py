"""Of the documents of one web address the newest stays, as Llama 3 has it (arXiv 2407.21783)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exnihilo.corpus.text_batch import Bools, Int64, UInt64


def newest(keys: UInt64, dates: Int64, ids: Sequence[str]) -> Bools:
    """Which documents stay, bool[n]: of those with equal `keys` [n], hashes of `urls.url_key`, the one with the largest
    of `dates` [n] (in any unit), then the smallest id, so that the order of documents doesn't count."""
    order = np.lexsort((np.array(ids, dtype=object).argsort(kind="stable").argsort(), -dates, keys))
    kept = np.zeros(len(keys), dtype=bool)
    kept[order[np.append(True, np.diff(keys[order]) != 0)[: len(keys)]]] = True
    return kept
