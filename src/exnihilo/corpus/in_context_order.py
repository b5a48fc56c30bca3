"""In-Context Pretraining's order of documents (arXiv 2310.10638): each beside one about the same things."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exnihilo.core.errors import Refused
from exnihilo.corpus.curriculum import by_id
from exnihilo.corpus.neighbours import Neighbours, nearest

Int64Array = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

OPENING = 100  # characters by which a template or a reprint is known
MAX_OVERLAP = 0.85  # largest Jaccard similarity of the 3-grams of two openings


def in_context_paths(
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: Vectors,
    *,
    k: int = 20,
    max_cosine: float = 0.95,
    seed: int = 0,
) -> list[Int64Array]:
    """Paths of related documents, as numbers into what was given; no document stands in two places.

    Left out are near-duplicates, which would teach copying: a document whose cosine with one that stays is above
    `max_cosine` (of such a group the longest stays, of equally long ones the first by id), and one whose first 100
    characters share more than 0.85 of their 3-grams with those of the document before it. The rest are covered by
    paths through the graph of the `k` nearest neighbours (see `cover`).

    The order in which documents are given plays no part.

    Args:
        vectors: unit rows, float32 [documents, dimensions], as from `embed`.
        seed: of the search for neighbours, where there are so many documents that it is not exact.

    Raises:
        Refused: two documents have one id, or there are not as many ids, texts and vectors.
    """
    if not len(ids) == len(texts) == len(vectors):
        raise Refused(
            f"{len(ids)} ids, {len(texts)} texts and {len(vectors)} vectors; give one for each document"
        )
    order = by_id(ids)
    lengths = np.array([len(texts[i]) for i in order], dtype=np.int64)
    kept, found = _distinct(vectors[order], lengths, k, max_cosine, seed)
    return _without_same_openings([order[kept[path]] for path in cover(found)], texts)


def cover(found: Neighbours) -> list[Int64Array]:
    """Paths that hold each document once, along edges of large weight: a greedy maximum travelling salesman.

    Documents are the nodes of an undirected graph; an edge joins two of which one is among the other's neighbours, if
    their cosine, its weight, is above 0. A path begins at the unvisited node of the smallest degree, which later would
    hardly be reached, and goes on to the unvisited neighbour of the largest weight until there is none. Of equals the
    smaller number comes first. Time is that of sorting the edges.
    """
    count, k = found.ids.shape
    one, other, weight = np.repeat(np.arange(count), k), found.ids.ravel(), found.cosines.ravel()
    # Found from both its ends, an edge counts once.
    edge, first = np.unique(np.minimum(one, other) * count + np.maximum(one, other), return_index=True)
    weight = weight[first]
    low, high = np.divmod(edge[weight > 0], max(1, count))
    one, other, weight = np.append(low, high), np.append(high, low), np.tile(weight[weight > 0], 2)
    order = np.lexsort((other, -weight, one))
    neighbours = other[order].tolist()
    borders = np.searchsorted(one[order], np.arange(count + 1))
    ends = borders.tolist()
    visited = bytearray(count)
    paths = []
    for start in np.argsort(np.diff(borders), kind="stable").tolist():
        node, path = start, []
        while node >= 0 and not visited[node]:
            visited[node] = 1
            path.append(node)
            node = next((n for n in neighbours[ends[node] : ends[node + 1]] if not visited[n]), -1)
        if path:
            paths.append(np.array(path, dtype=np.int64))
    return paths


def _distinct(
    vectors: Vectors, lengths: Int64Array, k: int, max_cosine: float, seed: int
) -> tuple[Int64Array, Neighbours]:
    """The documents without near-duplicates, and their neighbours among each other."""
    kept = np.arange(len(vectors))
    while True:
        found = nearest(vectors[kept], k, seed)
        dropped = _near_duplicates(found, lengths[kept], max_cosine)
        if not dropped:
            return kept, found
        # Again without them: of a large group the neighbours were all near-duplicates, which hid the others.
        kept = np.delete(kept, sorted(dropped))


def _near_duplicates(found: Neighbours, lengths: Int64Array, max_cosine: float) -> set[int]:
    rows, columns = np.nonzero(found.cosines > max_cosine)
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in zip(rows.tolist(), found.ids[rows, columns].tolist(), strict=True):
        alike[one].append(other)
        alike[other].append(one)
    dropped: set[int] = set()
    for one in sorted(alike, key=lambda number: (-int(lengths[number]), number)):
        if one not in dropped:
            dropped.update(alike[one])
    return dropped


def _without_same_openings(paths: list[Int64Array], texts: Sequence[str]) -> list[Int64Array]:
    before: set[str] = set()
    result = []
    for path in paths:
        kept = []
        for document in path.tolist():
            opening = texts[document][:OPENING]
            grams = {opening[i : i + 3] for i in range(len(opening) - 2)}
            if not grams or len(grams & before) <= MAX_OVERLAP * len(grams | before):
                kept.append(document)
                before = grams
        if kept:
            result.append(np.array(kept, dtype=np.int64))
    return result
