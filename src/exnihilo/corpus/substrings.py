"""Exact-substring deduplication: long passages that occur more than once are found and cut (arXiv 2107.06499).

Documents are one array of symbols: document `i` is `symbols[offsets[i]:offsets[i + 1]]`. No window crosses a
document's border. Symbols are the bytes of UTF-8 text (`uint8`) or token ids (`uint16`, `uint32`), and may be
memory-mapped. In text a window begins where a character begins, and of the character in which it ends, if it
ends inside one, nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.equal_windows import Integers, Symbols, repeats

TOKENS = 50  # the paper's threshold
BYTES = 100  # the paper's 50 tokens, as its tool counts them: two bytes each


def repeated_ranges(
    symbols: Symbols, offsets: Integers, length: int | None = None, *, strike_all: bool = False
) -> Integers:
    """The ranges [m, 2] to cut so that no substring of `length` symbols occurs twice: sorted, disjoint, int64.

    The earliest occurrence stays: give the documents in canonical order (sorted by id), and what survives
    depends on nothing else. A later one that overlaps it loses only what lies beyond. Passages that overlap are
    cut by themselves, so part of a first occurrence goes where it repeats something earlier still; but an equal
    of each symbol cut stays. `strike_all` cuts every occurrence, as the paper's tool does: none stays.

    `length` is 50 for tokens and 100 for bytes unless given. ConfigError for input that is not as said above.
    Memory, beside the symbols: 30 bytes a window, for 32 Mi windows at most, so about 1 GB however long the text
    (more where a single window makes up much of it). The text is read and hashed once for each 32 Mi windows.
    """
    length = _checked(symbols, offsets, length)
    ranges = np.empty((0, 2), dtype=np.int64)
    for starts, firsts in repeats(symbols, offsets, length):
        ends = _whole(symbols, starts + length, offsets)
        first_ends = _whole(symbols, firsts + length, offsets)
        found = [ranges]
        if strike_all:
            found += [np.stack((starts, ends), 1), np.stack((firsts, first_ends), 1)]
        else:
            found += [np.stack((np.maximum(starts, first_ends), ends), 1)]
        ranges = _merged(np.concatenate(found), offsets)
    return ranges


def ranges_in(
    symbols: Symbols,
    offsets: Integers,
    others: Symbols,
    other_offsets: Integers,
    length: int | None = None,
) -> Integers:
    """The ranges [m, 2] of the first documents that stand anywhere in the others: training against held-out text.

    What occurs twice in the first documents and not in the others stays. Both are copied into one array.
    """
    length = _checked(symbols, offsets, length)
    _checked(others, other_offsets, length)
    if symbols.dtype != others.dtype:
        raise ConfigError(
            f"symbols of {symbols.dtype} and {others.dtype}: give both as the same kind of symbol"
        )
    held = others[other_offsets[0] : other_offsets[-1]]
    both = np.concatenate((held, symbols[offsets[0] : offsets[-1]]))
    shift = len(held) - offsets[0]
    borders = np.concatenate((other_offsets - other_offsets[0], offsets[1:] + shift))
    ranges = np.empty((0, 2), dtype=np.int64)
    for starts, firsts in repeats(both, borders, length):
        is_leak = (starts >= len(held)) & (firsts < len(held))
        starts = starts[is_leak]
        ends = _whole(both, starts + length, borders)
        ranges = _merged(np.concatenate((ranges, np.stack((starts, ends), 1))), borders)
    return np.asarray(ranges - shift, dtype=np.int64)


@dataclass(frozen=True)
class Deduplicated:
    """What `deduplicate` cut, as ranges [m, 2] of the symbols given, and how many symbols in each round."""

    ranges: Integers
    rounds: list[int]


def deduplicate(
    symbols: Symbols, offsets: Integers, length: int | None = None, *, strike_all: bool = False
) -> Deduplicated:
    """Cut, join what is left of each document, and look again, until nothing of `length` symbols repeats.

    One round leaves no repeat within the pieces. But a document is written and trained on with its pieces
    joined, and what comes to stand across a seam can repeat: artificial as prose, yet a repeat in the training
    text like any other. Who keeps the pieces apart needs `repeated_ranges` alone, once. A range returned may
    hold a seam of an earlier round; none holds a document's border. Memory: three bytes a symbol more, and from
    the second round on a copy of what is left.
    """
    first, last = offsets[0], offsets[-1]
    is_left = np.ones(last - first, dtype=np.bool_)
    text, borders, rounds = symbols, offsets, []
    while len(ranges := repeated_ranges(text, borders, length, strike_all=strike_all)):
        rounds.append(int((ranges[:, 1] - ranges[:, 0]).sum()))
        stays = ~_covered(ranges, borders)
        is_left[is_left] = stays
        cut_before = np.concatenate(([0], np.cumsum(ranges[:, 1] - ranges[:, 0])))
        text = text[borders[0] : borders[-1]][stays]
        borders = borders - borders[0] - cut_before[np.searchsorted(ranges[:, 0], borders)]
    edges = np.flatnonzero(np.diff(is_left, prepend=True, append=True)) + first
    inner = np.unique(offsets[(offsets > first) & (offsets < last)])
    inside = inner[~is_left[inner - first - 1] & ~is_left[inner - first]]
    return Deduplicated(np.sort(np.concatenate((edges, np.repeat(inside, 2)))).reshape(-1, 2), rounds)


def encoded(texts: Iterable[str]) -> tuple[npt.NDArray[np.uint8], Integers]:
    """Texts as one array of UTF-8 bytes with offsets [n + 1], in the order given: sort them by id before."""
    parts = [text.encode("utf-8") for text in texts]
    sizes = np.array([0, *map(len, parts)], dtype=np.int64)
    return np.frombuffer(b"".join(parts), dtype=np.uint8), np.cumsum(sizes)


def by_document(ranges: Integers, offsets: Integers) -> Iterator[tuple[int, Integers]]:
    """(number of the document, its ranges counted from its own beginning) for each document with a range."""
    if len(ranges):
        numbers = np.searchsorted(offsets, ranges[:, 0], side="right") - 1
        for part in np.split(np.arange(len(ranges)), np.flatnonzero(np.diff(numbers)) + 1):
            number = int(numbers[part[0]])
            yield number, ranges[part] - offsets[number]


def cut(text: str, ranges: Integers) -> str:
    """The text without the ranges of its UTF-8 bytes; a character that lies only partly in a range stays."""
    data = text.encode("utf-8")
    pieces, after = [], 0
    for start, end in ranges.tolist():
        while start < end and data[start] & 0xC0 == 0x80:
            start += 1
        while start < end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(data[after:start])
        after = end
    return b"".join([*pieces, data[after:]]).decode("utf-8")


def _checked(symbols: Symbols, offsets: Integers, length: int | None) -> int:
    """The length to use; ConfigError says what is wrong with the rest."""
    is_text = symbols.dtype == np.uint8
    if symbols.ndim != 1 or symbols.dtype not in (np.uint8, np.uint16, np.uint32):
        raise ConfigError(
            f"symbols: {symbols.dtype} of {symbols.ndim} dimensions; give one dimension of uint8, uint16 or uint32"
        )
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets) or (np.diff(offsets) < 0).any():
        raise ConfigError(
            "offsets: give int64, one more than there are documents, none smaller than the one before"
        )
    if offsets[0] < 0 or offsets[-1] > len(symbols):
        raise ConfigError(f"offsets: {offsets[0]} to {offsets[-1]} do not lie within {len(symbols)} symbols")
    length = length if length is not None else BYTES if is_text else TOKENS
    if length < (least := 4 if is_text else 1):
        raise ConfigError(f"length: {length}; give at least {least} for {symbols.dtype}")
    return length


def _whole(symbols: Symbols, ends: Integers, offsets: Integers) -> Integers:
    """The ends, in text moved back to where a character begins."""
    if symbols.dtype != np.uint8:
        return ends
    ends = ends.copy()
    for _ in range(3):
        is_inside = ends < offsets[-1]
        is_inside[is_inside] = symbols[ends[is_inside]] & 0xC0 == 0x80
        ends[is_inside] -= 1
    return ends


def _merged(ranges: Integers, offsets: Integers) -> Integers:
    """Sorted, those that overlap or touch as one, unless a document's border lies between."""
    ranges = ranges[ranges[:, 0] < ranges[:, 1]]  # none is empty, unless the bytes are no UTF-8
    if not len(ranges):
        return ranges
    ranges = ranges[np.argsort(ranges[:, 0])]
    starts, reach = ranges[:, 0], np.maximum.accumulate(ranges[:, 1])
    opens = np.ones(len(ranges), dtype=np.bool_)
    is_at_border = offsets[np.searchsorted(offsets, starts[1:])] == starts[1:]
    opens[1:] = (starts[1:] > reach[:-1]) | is_at_border & (starts[1:] == reach[:-1])
    closes = np.append(opens[1:], True)
    return np.stack((starts[opens], reach[closes]), 1)


def _covered(ranges: Integers, offsets: Integers) -> npt.NDArray[np.bool_]:
    """For each symbol of the documents whether it lies in one of the ranges."""
    edges = np.zeros(offsets[-1] - offsets[0] + 1, dtype=np.int8)
    edges[ranges[:, 0] - offsets[0]] += 1
    edges[ranges[:, 1] - offsets[0]] -= 1
    np.cumsum(edges, dtype=np.int8, out=edges)
    return edges[:-1].view(np.bool_)
