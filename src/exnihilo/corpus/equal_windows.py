"""Windows of equal symbols: the search behind exact-substring deduplication (arXiv 2107.06499).

The paper sorts all suffixes. To know which windows of `length` symbols are equal, neither the order nor what
follows a window is needed: this is the prefix doubling of a suffix array in which 64-bit fingerprints stand for
the ranks, so one sort does instead of one for each doubling. Two windows count as equal only after their symbols
were compared: a collision of fingerprints costs time and never a wrong or a missed match.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[np.unsignedinteger[Any]]  # uint8, uint16 or uint32
Integers = npt.NDArray[np.int64]
Fingerprints = npt.NDArray[np.uint64]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_CHUNK = 1 << 17  # windows hashed at a time: they fit into a processor's cache
_PART = 1 << 25  # windows sorted at a time, at 30 bytes each or a little less
_COMPARED = 1 << 18  # pairs of windows compared at a time


def repeats(symbols: Symbols, offsets: Integers, length: int) -> Iterator[tuple[Integers, Integers]]:
    """Starts of windows that occurred before, with those of their first occurrences, some at a time.

    Windows whose fingerprints fall into one range are a part: equal windows share it, so each is sorted alone.
    """
    parts = int(np.maximum(np.diff(offsets) - length + 1, 0).sum()) // _PART + 1
    for part in range(parts):
        starts, opens = _candidates(symbols, offsets, length, part, parts)
        while len(starts):
            firsts = starts[opens][np.cumsum(opens) - 1]
            is_equal = np.empty(len(starts), dtype=np.bool_)
            rows = np.lib.stride_tricks.sliding_window_view(symbols, length)
            for i in range(0, len(starts), _COMPARED):
                here = slice(i, i + _COMPARED)
                is_equal[here] = (rows[starts[here]] == rows[firsts[here]]).all(1)
                is_repeat = is_equal[here] & ~opens[here]
                yield starts[here][is_repeat], firsts[here][is_repeat]
            # Other windows with the same fingerprint: a group of their own, its earliest the first.
            group = np.cumsum(opens)[~is_equal]
            starts, opens = starts[~is_equal], np.diff(group, prepend=0) != 0


def _candidates(
    symbols: Symbols, offsets: Integers, length: int, part: int, parts: int
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """The windows of a part that share a fingerprint: starts, ascending in each group, and where groups open."""
    found, found_at = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
    for values, starts in _windows(symbols, offsets, length):
        is_here = (values >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32) == part
        found.append(values[is_here])
        found_at.append(starts[is_here])
    keys = np.concatenate(found)
    found.clear()
    places = np.concatenate(found_at)
    found_at.clear()
    # The low bits of a fingerprint with the window's number below them: to sort keys is to sort both.
    bits = np.uint64(len(keys).bit_length())
    keys <<= bits
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    is_as_before = np.zeros(len(keys) + 1, dtype=np.bool_)
    differs = keys[1:] ^ keys[:-1]
    differs >>= bits
    is_as_before[1:-1] = differs == 0
    is_shared = is_as_before[:-1] | is_as_before[1:]
    numbers = keys[is_shared] & ((np.uint64(1) << bits) - np.uint64(1))
    return places[numbers], ~is_as_before[:-1][is_shared]


def _windows(symbols: Symbols, offsets: Integers, length: int) -> Iterator[tuple[Fingerprints, Integers]]:
    """Fingerprints and starts of all windows within documents, in order, some at a time."""
    for low in range(int(offsets[0]), int(offsets[-1]) - length + 1, _CHUNK):
        high = min(low + _CHUNK, int(offsets[-1]) - length + 1)
        around = slice(np.searchsorted(offsets, low, "right") - 1, np.searchsorted(offsets, high, "left") + 1)
        borders = np.clip(offsets[around], low, high)
        starts = np.arange(low, high, dtype=np.int64)
        is_inside = starts + length <= np.repeat(offsets[around][1:], np.diff(borders))
        if symbols.dtype == np.uint8:
            is_inside &= symbols[low:high] & 0xC0 != 0x80
        yield _fingerprints(symbols[low : high + length - 1], length)[is_inside], starts[is_inside]


def _fingerprints(symbols: Symbols, length: int) -> Fingerprints:
    """64 bits for each window of `length` symbols, by doubling: 50 symbols are 32 and, overlapping them, 32."""
    values = (symbols + np.uint64(1)) * _ODD
    width = 1
    while width < length:
        step = min(width, length - width)
        wider = values[:-step] * _ODD
        wider += values[step:]
        wider ^= wider >> np.uint64(32)
        values, width = wider, width + step
    values *= _ODD
    return values
