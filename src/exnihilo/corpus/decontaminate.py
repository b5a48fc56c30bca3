"""What is done with training texts that hold items of evaluation sets: dropped, cut, or marked.

- Drop: `Hits.text` says which texts go. For small amounts of text around an item, such as a page of one question.
- Cut (GPT-3, arXiv 2005.14165, appendix C): the place goes with some text on both sides, the rest stays in pieces.
- Mark: the text stays, and says what it holds.
"""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.contamination import Hits, Index
from exnihilo.corpus.text_batch import TextBatch

AROUND = 200
"""Characters that go on both sides of a place, and the least that a piece must have to stay."""
MOST_PIECES = 10


def cut(batch: TextBatch, hits: Hits) -> list[list[str]]:
    """The pieces of each text that are left when the places of hits, and 200 characters around each, are cut out.

    Pieces of fewer than 200 characters go, and so does all of a text that is cut into more than 10, those among them:
    what is quoted so often is a copy of the set. A text without hits is one piece, whatever its length.
    """
    first = np.searchsorted(hits.text, np.arange(len(batch) + 1))
    left = []
    for text, (begin, end) in enumerate(zip(batch.start.tolist(), batch.end.tolist(), strict=True)):
        here = slice(first[text], first[text + 1])
        places = zip(hits.start[here].tolist(), hits.end[here].tolist(), strict=True)
        stays = _outside(begin, end, [(start - AROUND, stop + AROUND) for start, stop in places])
        if first[text] == first[text + 1]:
            left.append([batch.joined[begin:end]])
        elif len(stays) > MOST_PIECES:
            left.append([])
        else:
            left.append([batch.joined[a:b] for a, b in stays if b - a >= AROUND])
    return left


def _outside(begin: int, end: int, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The stretches from `begin` to `end` that no place touches."""
    stays = []
    for start, stop in sorted(places):
        if start > begin:
            stays.append((begin, start))
        begin = max(begin, stop)
    return [*stays, (begin, end)] if begin < end else stays


def marks(index: Index, hits: Hits, texts: int) -> list[dict[str, list[str]]]:
    """What each of `texts` texts holds, for its `meta`: the ids of items by set, sorted; empty for most."""
    found: list[dict[str, set[str]]] = [{} for _ in range(texts)]
    for text, item in zip(hits.text.tolist(), hits.item.tolist(), strict=True):
        found[text].setdefault(index.items[item].set, set()).add(index.items[item].id)
    return [{name: sorted(ids) for name, ids in sorted(one.items())} for one in found]
