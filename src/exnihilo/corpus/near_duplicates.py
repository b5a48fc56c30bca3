"""Near-duplicates of held-out texts, in the training text and among themselves, by shared word 8-grams."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]

SHINGLE_WORDS = 8
# Scripts that put no space between words count by characters: kana, Han ideographs and their extensions.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_IDEOGRAPH}]|[^\\W{_IDEOGRAPH}]+")
# Powers of an odd constant, modulo 2**64: a shingle's hash depends on the order of its words.
_POWERS = np.array(
    [pow(0x9E3779B97F4A7C15, power, 1 << 64) for power in range(SHINGLE_WORDS)], dtype=np.uint64
)


def shingles(text: str) -> Hashes:
    """The distinct hashes of every run of 8 words, sorted; of all words together where there are fewer.

    Case, punctuation and white space do not count.
    """
    words = np.array([_word_hash(word) for word in _WORD.findall(text.lower())], dtype=np.uint64)
    if not len(words):
        return words
    if len(words) < SHINGLE_WORDS:
        return _mix((words * _POWERS[: len(words)]).sum(keepdims=True, dtype=np.uint64))
    windows = len(words) - SHINGLE_WORDS + 1
    total = np.zeros(windows, dtype=np.uint64)
    for place, power in enumerate(_POWERS):
        total += words[place : place + windows] * power
    return np.unique(_mix(total))


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    return xxhash.xxh64_intdigest(word.encode("utf-8"))


def _mix(values: Hashes) -> Hashes:
    """A bijection of 64 bits after which every bit depends on every bit (the finaliser of MurmurHash3)."""
    for constant in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(constant)
    return values ^ (values >> np.uint64(33))


class Containment:
    """How much of each held-out text stands somewhere in the training texts.

    Holds the hashes of the held-out texts only: training texts are streamed past them.
    """

    def __init__(self, held_out: list[Hashes]) -> None:
        self._held_out = held_out
        self._index = np.unique(np.concatenate(held_out)) if held_out else np.empty(0, dtype=np.uint64)
        self._seen = np.zeros(len(self._index), dtype=bool)

    def see(self, training: Hashes) -> None:
        """Enter the shingles of a training text."""
        if len(self._index):
            places = np.minimum(np.searchsorted(self._index, training), len(self._index) - 1)
            self._seen[places[self._index[places] == training]] = True

    def shares(self) -> list[float]:
        """Of each held-out text, the share of its shingles that were seen; 0 for a text without words."""
        return [
            float(self._seen[np.searchsorted(self._index, hashes)].mean()) if len(hashes) else 0.0
            for hashes in self._held_out
        ]


def shares_in_earlier(texts: list[Hashes]) -> list[float]:
    """Of each text, the share of its shingles that stand in texts before it; 0 for a text without words."""
    if not texts:
        return []
    ranks = np.repeat(np.arange(len(texts)), [len(hashes) for hashes in texts])
    # np.unique finds the first place of each hash, which is in the first text that has it.
    _, first, inverse = np.unique(np.concatenate(texts), return_index=True, return_inverse=True)
    is_earlier = ranks[first][inverse] < ranks
    borders = np.cumsum([len(hashes) for hashes in texts])[:-1]
    return [float(part.mean()) if len(part) else 0.0 for part in np.split(is_earlier, borders)]
