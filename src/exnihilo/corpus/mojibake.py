"""Text that was decoded wrongly before it came here ("cafÃ©"), set right by ftfy, line by line.

Only that is repaired: quotes, ligatures and widths of characters stay as their authors wrote them.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import replace

import ftfy
import numpy as np
import numpy.typing as npt

from exnihilo.corpus import python_library
from exnihilo.corpus.findings import Found
from exnihilo.corpus.sniff import Format

# ftfy reads some 5 MB/s. UTF-8 that was read as a single-byte encoding has the character of a lead byte and
# then those of as many continuation bytes as that asks for, which two look-ups find; only lines that have such a
# row are given to ftfy, which judges whether they are wrong.
# The encodings whose mistakes ftfy repairs.
_ENCODINGS = (
    "latin-1",
    "cp1250",
    "cp1251",
    "cp1252",
    "cp1253",
    "cp1254",
    "cp1257",
    "iso8859-2",
    "mac_roman",
    "cp437",
)
_LEADS = {1: range(0xC2, 0xE0), 2: range(0xE0, 0xF0), 3: range(0xF0, 0xF5)}  # by number of continuations
_CONTINUATIONS = range(0x80, 0xC0)
# A no-break space, which ends "Ã\xa0" for "à", has often become a space on the way.
_SPACED = "Ã "
_WINDOW = 1 << 15  # characters looked at together: their arrays stay in the cache
_CONFIG = ftfy.TextFixerConfig(explain=False)

_Table = npt.NDArray[np.uint16]  # by code point: bit i is set where the character is one of `_ENCODINGS[i]`


def _table(values: range) -> _Table:
    table = np.zeros(0x10000, dtype=np.uint16)
    for bit, encoding in enumerate(_ENCODINGS):
        characters = codecs.decode(bytes(values), encoding, "ignore")
        table[[ord(char) for char in characters]] |= 1 << bit
    return table


_LEAD = {count: _table(values) for count, values in _LEADS.items()}
# In Mac Roman the apostrophe of "l’été" would lead a letter of Armenian; that mistake is not looked for.
_LEAD[1][ord("’")] = 0
_ANY_LEAD = np.bitwise_or.reduce(list(_LEAD.values())) != 0
_CONTINUATION = _table(_CONTINUATIONS)


def repaired(found: Found) -> Found:
    """A text with its encoding set right. Code is left alone: a wrongly decoded string in it is often meant."""
    if found.kind in (Format.SOURCE_CODE, python_library.SOURCE):
        return found
    text = repair(found.text)
    return found if text is found.text else replace(found, text=text, repaired=True)


def repair(text: str) -> str:
    """The text with wrongly decoded lines decoded anew; the very same object where nothing is wrong."""
    if text.isascii():
        return text
    pieces: list[str] = []
    done = 0
    for start, end in _suspicious_lines(text):
        line = text[start:end]
        fixed = ftfy.fix_encoding(line, _CONFIG)
        if fixed != line:
            pieces += [text[done:start], fixed]
            done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _suspicious_lines(text: str) -> Iterator[tuple[int, int]]:
    end = 0
    for at in _suspicious(text):
        if at >= end:
            start = text.rfind("\n", 0, at) + 1
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            yield start, end


def _suspicious(text: str) -> list[int]:
    """Where a lead byte's character is followed by its continuations', in order."""
    hits: set[int] = set()
    for start in range(0, len(text), _WINDOW):
        window = text[start : start + _WINDOW + max(_LEAD)]
        hits.update(start + at for at in _in_window(window))
    at = text.find(_SPACED)
    while at >= 0:
        hits.add(at)
        at = text.find(_SPACED, at + 1)
    return sorted(hits)


def _in_window(text: str) -> list[int]:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    points = np.minimum(points, 0xFFFF)  # U+FFFF is in no encoding
    places = np.flatnonzero(_ANY_LEAD[points])
    if not len(places):
        return []
    points = np.append(points, np.zeros(max(_LEAD), dtype=np.uint32))
    found = np.zeros(len(places), dtype=bool)
    follows = np.full(len(places), 0xFFFF, dtype=np.uint16)
    for count, lead in _LEAD.items():
        follows &= _CONTINUATION[points[places + count]]
        found |= (lead[points[places]] & follows) != 0
    hits: list[int] = places[found].tolist()
    return hits
