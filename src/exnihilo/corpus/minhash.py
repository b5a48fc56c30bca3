"""MinHash signatures of texts and their bands (arXiv 2107.06499): near-duplicates by locality-sensitive hashing.

Two texts whose sets of shingles have the Jaccard similarity s agree in each hash of their signatures with probability
s, and share one of `bands` bands of `rows` hashes with 1 - (1 - s ** rows) ** bands. (The paper's notation is 450
buckets of 20 hashes: 450 bands, 20 rows. The other way round hardly anything is found.)
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from exnihilo.core.seeds import derive
from exnihilo.corpus.text_batch import Int64, TextBatch, UInt64, mixed

UInt32 = npt.NDArray[np.uint32]

_BASE = 0xD6E8FEB86659FD93  # odd: a word's place in its shingle counts
_BLOCK = 1 << 14  # shingles whose hashes are made at once: they stay in the cache


def shingles(folded: TextBatch, words: int) -> tuple[UInt64, Int64]:
    """The hashes of every run of `words` words of folded texts, and where each text's begin: uint64[S], int64[n + 1].

    A text of fewer words has one, of all of them; a text without words has none.
    """
    spans = folded.words
    hashes = folded.hashes(spans)
    total = np.zeros(len(hashes), dtype=np.uint64)
    left = np.repeat(spans.first[1:], spans.count) - np.arange(
        len(hashes)
    )  # words from here to the text's end
    for place in range(min(words, len(hashes))):
        power = np.uint64(pow(_BASE, place, 1 << 64))
        ahead = hashes[place:] * power
        total[: len(ahead)] += np.where(left[: len(ahead)] > place, ahead, np.uint64(0))
    begins = spans.first[:-1]
    whole = left >= words
    whole[begins[spans.count > 0]] = True
    first = np.append(0, np.cumsum(whole))[spans.first]
    return mixed(total[whole]), first


def signatures(hashes: UInt64, first: Int64, count: int, seed: int = 1) -> UInt32:
    """The least of each of `count` hashes of each text's shingles, uint32[n, count].

    A hash is the upper half of a product with an odd number, modulo 2**64 (multiply-shift); shingles are mixed before.
    A text without shingles has the largest number everywhere.
    """
    factors = np.array([derive(seed, "minhash", i) | 1 for i in range(count)], dtype=np.uint64)
    least = np.full((count, len(first) - 1), 0xFFFFFFFF, dtype=np.uint32)
    filled = np.flatnonzero(np.diff(first))
    for low, high in _blocks(first, filled):
        some = filled[low:high]
        part = hashes[first[some[0]] : first[some[-1] + 1]]
        begins = first[some] - first[some[0]]
        for i, factor in enumerate(factors):
            least[i, some] = np.minimum.reduceat(((part * factor) >> np.uint64(32)).astype(np.uint32), begins)
    return np.ascontiguousarray(least.T)


def band_keys(signature: UInt32, bands: int) -> UInt64:
    """A 64-bit key of each band of equal length of signatures uint32[n, hashes]: uint64[n, bands]."""
    texts, hashes = signature.shape
    rows = hashes // bands
    keys: UInt64 = np.zeros((texts, bands), dtype=np.uint64)
    grouped = signature[:, : bands * rows].reshape(texts, bands, rows).astype(np.uint64)
    for row in range(rows):
        column: UInt64 = grouped[:, :, row]
        keys = mixed(keys * np.uint64(_BASE) + column)
    number: UInt64 = np.arange(bands, dtype=np.uint64)
    return mixed(keys + number)


def detection(similarity: float, bands: int, rows: int) -> float:
    """The probability that two texts of this Jaccard similarity share a band."""
    return float(1 - (1 - similarity**rows) ** bands)


def _blocks(first: Int64, filled: Int64) -> list[tuple[int, int]]:
    """Consecutive texts with shingles, so many at once that these are some `_BLOCK`."""
    ends = np.cumsum(np.diff(first)[filled])
    cuts = np.flatnonzero(np.diff(ends // _BLOCK, prepend=0)) + 1
    edges = np.unique(np.concatenate([[0], cuts, [len(filled)]]))
    return list(pairwise(edges.tolist()))
