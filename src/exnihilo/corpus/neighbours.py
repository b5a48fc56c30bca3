"""The nearest neighbours of every document, by cosine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exnihilo.core.seeds import derive

Int64Array = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

EXACT = 50_000  # documents up to which each is compared with each
PROBES = 64  # lists of an inverted file in which a document looks for its neighbours
_BLOCK = 1 << 23  # similarities held at once: 32 MiB, and some 100 MiB more while they are ranked
_ROUNDS = 8  # of k-means
_PER_CENTROID = 64  # documents that k-means sees for each centroid


@dataclass(frozen=True)
class Neighbours:
    """For each document its nearest others, the nearest first; of equally near ones the one with the smaller number.

    Attributes:
        ids: int64 [documents, k], numbers of documents.
        cosines: float32 [documents, k].
    """

    ids: Int64Array
    cosines: Vectors


def nearest(vectors: Vectors, k: int = 20, seed: int = 0) -> Neighbours:
    """The `k` nearest neighbours of each of `vectors`, unit rows of float32 [documents, dimensions].

    Up to 50,000 documents exactly; beyond, by an inverted file. With k others or fewer, all of them.
    """
    return exact(vectors, k) if len(vectors) <= EXACT else inverted_file(vectors, k, seed)


def exact(vectors: Vectors, k: int) -> Neighbours:
    """As `nearest`, each document compared with each other."""
    count = len(vectors)
    found = _empty(count, k)
    for block in _blocks(count, count):
        cosines = vectors[block] @ vectors.T
        cosines[np.arange(len(block)), block] = -np.inf
        _enter(found, block, cosines, np.broadcast_to(np.arange(count), cosines.shape))
    return found


def inverted_file(vectors: Vectors, k: int, seed: int = 0, probes: int = PROBES) -> Neighbours:
    """As `nearest`, each document compared with those of the `probes` lists nearest to it.

    Spherical k-means puts n documents in 4 · sqrt(n) lists (Sivic and Zisserman, ICCV 2003), so that comparisons
    grow as n to the power 1.5. More lists are searched where these hold too few documents.
    """
    count = len(vectors)
    found = _empty(count, k)
    if not count:
        return found
    centroids = _k_means(vectors, min(count, round(4 * count**0.5)), seed)
    assigned = _closest(vectors, centroids)
    listed = np.argsort(assigned, kind="stable")
    sizes = np.bincount(assigned, minlength=len(centroids))
    begins = np.cumsum(sizes) - sizes
    for block in _blocks(count, min(count, 2 * probes * (count // len(centroids) + 1))):
        probed = _probed(vectors[block] @ centroids.T, sizes, probes, k + 1)
        filled = np.cumsum(sizes[probed], axis=1)
        cosines = np.full((len(block), filled.max()), -np.inf, dtype=np.float32)
        ids = np.zeros(cosines.shape, dtype=np.int64)
        places = filled - sizes[probed]  # of each probed list among the columns of its row
        queries = np.argsort(probed, axis=None, kind="stable")
        borders = np.searchsorted(probed.ravel()[queries], np.arange(len(centroids) + 1))
        for i in np.flatnonzero((np.diff(borders) > 0) & (sizes > 0)):
            members = listed[begins[i] : begins[i] + sizes[i]]
            rows, probe = np.divmod(queries[borders[i] : borders[i + 1]], probed.shape[1])
            columns = places[rows, probe][:, None] + np.arange(len(members))
            cosines[rows[:, None], columns] = vectors[block[rows]] @ vectors[members].T
            ids[rows[:, None], columns] = members
        cosines[ids == block[:, None]] = -np.inf
        _enter(found, block, cosines, ids)
    return found


def _empty(count: int, k: int) -> Neighbours:
    shape = (count, max(0, min(k, count - 1)))
    return Neighbours(np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32))


def _blocks(count: int, columns: int) -> list[Int64Array]:
    step = max(1, _BLOCK // max(1, columns))
    return [np.arange(start, min(start + step, count)) for start in range(0, count, step)]


def _probed(cosines: Vectors, sizes: Int64Array, probes: int, least: int) -> Int64Array:
    """The lists with the largest cosines, int64 [rows, `probes` or more], so that each row's hold `least` documents
    where there are as many."""
    while True:
        probes = min(probes, len(sizes))
        lists = np.argpartition(-cosines, probes - 1, axis=1)[:, :probes]
        if probes == len(sizes) or sizes[lists].sum(axis=1).min() >= least:
            return lists
        probes *= 2


def _enter(found: Neighbours, block: Int64Array, cosines: Vectors, ids: Int64Array) -> None:
    """Set the neighbours of `block` to the largest of `cosines`; in each row k of them are finite."""
    k = found.ids.shape[1]
    if not k:
        return
    least = np.partition(cosines, cosines.shape[1] - k, axis=1)[:, cosines.shape[1] - k, None]
    rows, columns = np.nonzero(cosines >= least)  # k in a row, or more where some equal the least
    order = np.lexsort((ids[rows, columns], -cosines[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    largest = np.arange(rows.size) - np.searchsorted(rows, rows) < k
    at = rows[largest], columns[largest]
    found.ids[block] = ids[at].reshape(-1, k)
    found.cosines[block] = cosines[at].reshape(-1, k)


def _k_means(vectors: Vectors, lists: int, seed: int) -> Vectors:
    """Unit centroids, float32 [lists, dimensions]."""
    random = np.random.default_rng(derive(seed, "k-means"))
    sample = vectors[random.permutation(len(vectors))[: lists * _PER_CENTROID]]
    centroids = sample[:lists].copy()
    for _ in range(_ROUNDS):
        assigned = _closest(sample, centroids)
        order = np.argsort(assigned, kind="stable")
        used, first = np.unique(assigned[order], return_index=True)
        sums = np.add.reduceat(sample[order], first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # A list that lost all its documents keeps its centroid.
        centroids[used] = np.divide(sums, lengths, out=centroids[used], where=lengths > 0)
    return centroids


def _closest(vectors: Vectors, centroids: Vectors) -> Int64Array:
    blocks = _blocks(len(vectors), len(centroids))
    return np.concatenate([np.argmax(vectors[block] @ centroids.T, axis=1) for block in blocks])
