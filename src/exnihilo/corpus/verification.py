"""Near-duplicates whose similarity is exact: candidates by MinHash bands, verified, and one of each group kept.

Bands alone link texts that are not alike: 14 bands of 8 rows join one pair in twenty of Jaccard similarity 0.5. So each
candidate's shingles are compared before it is a link (arXiv 2107.06499, appendix A, verified by edit similarity).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from exnihilo.corpus.clusters import components, survivors
from exnihilo.corpus.text_batch import Bools, Int64, UInt64, mixed

SMALL = 50
_AT_ONCE = 1 << 22  # shingles of the left texts of pairs that are compared at once


def distinct_shingles(hashes: UInt64, first: Int64) -> tuple[UInt64, Int64]:
    """The shingles of `minhash.shingles`, each once in a text and ascending: uint64[S'], int64[n + 1]."""
    text = np.repeat(np.arange(len(first) - 1), np.diff(first))
    order = np.lexsort((hashes, text))
    hashes, text = hashes[order], text[order]
    new = np.append(True, (np.diff(text) != 0) | (np.diff(hashes) != 0))[: len(hashes)]
    return hashes[new], np.append(0, np.cumsum(np.bincount(text[new], minlength=len(first) - 1)))


def contents(hashes: UInt64, first: Int64) -> UInt64:
    """A hash of each text's set of distinct shingles, uint64[n]: an order of texts that is not that of the corpus."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed(np.asarray(hashes)), dtype=np.uint64)])
    return mixed(sums[first[1:]] - sums[first[:-1]])


def candidate_pairs(keys: UInt64, beside: UInt64, content: UInt64) -> Int64:
    """The pairs of texts to compare of those that share a band, the smaller number first, none twice: int64[P, 2].

    Of up to 50 texts of one key these are all pairs. A larger group has too many (20,000 copies of a licence make
    200 million), so that each is compared with the first and with the next one only, in the order of `beside` and
    `content`. That loses nothing where all are alike, which is what large groups are made of. Where a group joins
    several kinds, texts of one kind stand together as far as they share the key `beside`, which is another band; two of
    a kind that stand apart in this band meet in another one, or by a third that both are linked with.

    Args:
        keys: uint64[n]: of one band.
        beside: uint64[n]: of the next one.
        content: uint64[n]: from `contents`; equal for texts that are equal.
    """
    order = np.lexsort((content, beside, keys))
    new = np.append(True, np.diff(keys[order]) != 0)[: len(keys)]
    starts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    size = np.diff(np.append(starts, len(keys)))[group]
    ahead = np.arange(len(keys)) - starts[group] if len(keys) else group
    left, right = [], []
    for distance in range(1, SMALL):
        far = np.flatnonzero((ahead >= distance) & ((size <= SMALL) if distance > 1 else True))
        if not len(far):
            break
        left.append(order[far - distance])
        right.append(order[far])
    large = np.flatnonzero((size > SMALL) & (ahead > 1))
    left.append(order[starts[group[large]]])
    right.append(order[large])
    pairs = np.stack([np.concatenate(left), np.concatenate(right)], axis=1)
    return np.sort(pairs, axis=1)


def jaccard(pairs: Int64, hashes: UInt64, first: Int64) -> npt.NDArray[np.float64]:
    """The Jaccard similarity of the sets of shingles of each pair int64[P, 2], float64[P]; 0 where both are empty.

    `hashes` (a memory map may be) are those of `distinct_shingles`. They are looked up by their upper 48 bits below the
    pair's number, in one sorted array for many pairs, and compared whole: no hash is ever taken for another, and one is
    missed only where two of one text agree in 48 bits.
    """
    size = np.diff(first)[pairs]
    similarity = np.zeros(len(pairs))
    block = np.cumsum(size.sum(axis=1)) // _AT_ONCE
    inside = np.arange(len(pairs)) >> 16  # 16 bits number the pairs of a block
    new = np.append(True, (np.diff(block) != 0) | (np.diff(inside) != 0))[: len(pairs)]
    for low, high in pairwise([*np.flatnonzero(new).tolist(), len(pairs)]):
        left, left_keys, _ = _laid_out(pairs[low:high, 0], hashes, first)
        right, right_keys, pair = _laid_out(pairs[low:high, 1], hashes, first)
        if not len(left) or not len(right):
            continue
        place = np.minimum(np.searchsorted(left_keys, right_keys), len(left) - 1)
        same = (left_keys[place] == right_keys) & (left[place] == right)
        shared = np.bincount(pair[same], minlength=high - low)
        similarity[low:high] = shared / np.maximum(size[low:high].sum(axis=1) - shared, 1)
    return similarity


def near_duplicates(
    keys: UInt64, hashes: UInt64, first: Int64, ranks: Sequence[tuple[Any, ...]], threshold: float = 0.8
) -> Bools:
    """Which texts stay, bool[n]: of those linked by pairs at least as similar as `threshold`, that of the least rank.

    Args:
        keys: uint64[n, bands], from `minhash.band_keys`.
        hashes, first: `distinct_shingles`. A text without any is nothing's duplicate.
        ranks: as `clusters.survivors` takes them: with the id at their end the order of texts doesn't count.
    """
    texts, bands = keys.shape
    content = contents(hashes, first)
    filled = np.flatnonzero(np.diff(first) > 0)
    known = np.zeros(0, np.int64)
    for band in range(bands):
        beside = keys[filled, (band + 1) % bands]
        pairs = filled[candidate_pairs(keys[filled, band], beside, content[filled])]
        known = np.union1d(known, pairs[:, 0] * texts + pairs[:, 1])
    pairs = np.stack([known // max(texts, 1), known % max(texts, 1)], axis=1)
    linked = pairs[jaccard(pairs, hashes, first) >= threshold]
    return survivors(components(linked, texts), ranks)


def _laid_out(texts: Int64, hashes: UInt64, first: Int64) -> tuple[UInt64, UInt64, Int64]:
    """The shingles of `texts` [P] one after the other, their keys below the number of each, and that number."""
    count = first[texts + 1] - first[texts]
    number = np.repeat(np.arange(len(texts)), count)
    begins = np.cumsum(count) - count
    places = np.arange(len(number)) - np.repeat(begins - first[texts], count)
    laid = np.asarray(hashes[places])
    return laid, (number.astype(np.uint64) << np.uint64(48)) | (laid >> np.uint64(16)), number
