"""Groups of texts that are linked, directly or by others, and which text of each stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exnihilo.corpus.text_batch import Bools, Int64


def components(pairs: Int64, texts: int) -> Int64:
    """The smallest text that each of `texts` is linked with through `pairs` int64[P, 2]: int64[texts].

    Labels spread along pairs, and each label's own label after them, until none changes.
    """
    label = np.arange(texts)
    if not len(pairs):
        return label
    left, right = pairs[:, 0], pairs[:, 1]
    while True:
        least = np.minimum(label[left], label[right])
        after = label.copy()
        np.minimum.at(after, label[left], least)
        np.minimum.at(after, label[right], least)
        np.minimum.at(after, left, least)
        np.minimum.at(after, right, least)
        while True:
            shorter = after[after]
            if np.array_equal(shorter, after):
                break
            after = shorter
        if np.array_equal(after, label):
            return label
        label = after


def survivors(label: Int64, ranks: Sequence[tuple[Any, ...]]) -> Bools:
    """Which text of each group stays: the one whose rank is the least, bool[texts].

    A rank that ends with the text's id makes the choice independent of the order of texts.
    """
    best: dict[int, int] = {}
    for text, group in enumerate(label.tolist()):
        before = best.get(group)
        if before is None or ranks[text] < ranks[before]:
            best[group] = text
    kept = np.zeros(len(label), dtype=bool)
    kept[list(best.values())] = True
    return kept
