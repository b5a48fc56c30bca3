"""Sets of characters as ranges of code points, and the UTF-8 bytes that write them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Literal

Ranges = tuple[tuple[int, int], ...]
"""Code points from the first to the second of each pair, both included; sorted, apart from one another."""

ByteTree = tuple[tuple[int, int, "ByteTree | None"], ...]
"""What may follow: (lowest byte, highest byte, what may follow that); None where the character is complete."""

LAST = 0x10FFFF
# Half of a surrogate pair is no character: UTF-8 does not write it.
SURROGATES = ((0xD800, 0xDFFF),)
# (first and last code point, continuation bytes, bits that mark the first byte), RFC 3629.
_LENGTHS = (
    (0, 0x7F, 0, 0),
    (0x80, 0x7FF, 1, 0xC0),
    (0x800, 0xD7FF, 2, 0xE0),
    (0xE000, 0xFFFF, 2, 0xE0),
    (0x10000, LAST, 3, 0xF0),
)
_CONTINUATION = 0x80


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """Characters in any of the sets."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for ranges in sets for pair in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """All characters that are not in the set."""
    gaps, start = [], 0
    for low, high in (*union(ranges, SURROGATES), (LAST + 1, LAST + 1)):
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    return tuple(gaps)


def without(ranges: Ranges, removed: Ranges) -> Ranges:
    """Characters of the first set that are not in the second."""
    return complement(union(complement(ranges), removed))


def characters_of(text: str) -> Ranges:
    """The set of the characters of a text."""
    return union((ord(character), ord(character)) for character in text)


EVERY = complement(())


ClassLetter = Literal["d", "w", "s"]
CLASSES: tuple[ClassLetter, ...] = ("d", "w", "s")


@cache
def class_ranges(letter: ClassLetter, *, ascii: bool) -> Ranges:
    r"""What `\d`, `\w` or `\s` stands for in `re`, asked of `re` itself."""
    every = "".join(map(chr, range(128 if ascii else LAST + 1)))
    return tuple((found.start(), found.end() - 1) for found in re.finditer(rf"\{letter}+", every))


@lru_cache(maxsize=256)
def utf8(ranges: Ranges) -> ByteTree:
    """The UTF-8 of the characters of a set, byte by byte; equal endings are one object."""
    arcs: list[tuple[int, int, ByteTree | None]] = []
    for first, last, tails, mark in _LENGTHS:
        inside = tuple(
            (max(low, first), min(high, last)) for low, high in ranges if low <= last and high >= first
        )
        arcs += _digits(inside, tails, mark)
    return tuple(arcs)


def _digits(ranges: Ranges, tails: int, mark: int) -> ByteTree:
    """Numbers written as one byte of `mark` plus their bits above 6 x `tails`, then `tails` bytes more."""
    unit = 64**tails
    parts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for low, high in ranges:
        for digit in range(low // unit, high // unit + 1):
            start = digit * unit
            parts[digit].append((max(low - start, 0), min(high - start, unit - 1)))
    arcs: list[tuple[int, int, ByteTree | None]] = []
    for digit in sorted(parts):
        rest = _continuation(tuple(parts[digit]), tails - 1) if tails else None
        byte = mark + digit
        if arcs and arcs[-1][1] == byte - 1 and arcs[-1][2] == rest:
            arcs[-1] = arcs[-1][0], byte, rest
        else:
            arcs.append((byte, byte, rest))
    return tuple(arcs)


@lru_cache(maxsize=4096)
def _continuation(ranges: Ranges, tails: int) -> ByteTree:
    return _digits(ranges, tails, _CONTINUATION)
