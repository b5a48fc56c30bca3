"""The one normalisation for what compares texts: near-duplicates, test items in training text, repeated lines.

Two texts that differ in case, in accents and vowel marks, in compatible forms (full-width letters, superscripts),
in punctuation or in white space are the same here. Digits stay as they are: sums differ in nothing else. Characters
keep their places, so that what was found can be cut out of the text as it was.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from exnihilo.corpus.character_classes import WORD, table
from exnihilo.corpus.text_batch import Int64, TextBatch

NAME = "folded-1"
"""Changes whenever the same text would come out otherwise: indexes made with another name don't fit."""

_SPACE = ord(" ")
_DROPPED = 0xFFFFFFFF
# Marks that are written or left out for the same word: Latin, Greek and Cyrillic accents, Hebrew points, Arabic vowel
# signs and the tatweel. Those of other scripts, such as the vowel signs of Hindi, are letters.
_MARKS = (
    (0x0300, 0x036F),
    (0x0591, 0x05C7),
    (0x0610, 0x061A),
    (0x0640, 0x0640),
    (0x064B, 0x065F),
    (0x0670, 0x0670),
)


@dataclass(frozen=True)
class Folded:
    """A batch of folded texts, letters and digits with single signs of white space between them or many.

    Attributes:
        batch: the folded texts.
        origin: int64[N]: the place of each character of `batch` in the batch that was folded.
    """

    batch: TextBatch
    origin: Int64


def fold(batch: TextBatch) -> Folded:
    """The texts of a batch, folded."""
    codes = _folded(batch.codes)
    codes[batch.end] = 0
    origin = np.flatnonzero(codes != _DROPPED)
    if len(origin) == len(codes):
        return Folded(TextBatch(codes, batch.start, batch.end), origin)
    return Folded(
        TextBatch(codes[origin], np.searchsorted(origin, batch.start), np.searchsorted(origin, batch.end)),
        origin,
    )


def _folded(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    low = np.minimum(codes, 127).astype(np.uint8).tobytes().translate(_ascii())
    folded = np.frombuffer(low, dtype=np.uint8).astype(np.uint32)
    high = np.flatnonzero(codes > 127)
    folded[high] = _table()[codes[high]]
    return folded


@lru_cache(maxsize=1)
def _table() -> npt.NDArray[np.uint32]:
    """uint32: what each code point becomes; a ligature its first letter."""
    folded = np.full(len(table()), _SPACE, dtype=np.uint32)
    for code in np.flatnonzero(table() & WORD).tolist():
        first = unicodedata.normalize("NFKD", chr(code))[0]
        first = first.lower()[0]
        if first.isalnum() or unicodedata.category(first)[0] == "M":
            folded[code] = ord(first)
    for first_mark, last_mark in _MARKS:
        folded[first_mark : last_mark + 1] = _DROPPED
    return folded


@lru_cache(maxsize=1)
def _ascii() -> bytes:
    return bytes(min(int(code), 255) for code in _table()[:128]) + bytes(128)
