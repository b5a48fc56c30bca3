"""Documents as unit vectors whose dot product says how much they are about the same things."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

from exnihilo.core.seeds import derive

Vectors = npt.NDArray[np.float32]

CHARACTERS = 1 << 14  # of a text that are read: what it is about shows early
FEATURES = 1 << 18  # words are told apart by 18 bits of a hash
SKETCH = 1 << 12  # dimensions that the features are folded into, by 12 of these bits
_SIGN = np.uint32(FEATURES >> 1)  # the bit that gives the sign
_OVERSAMPLING = 16  # directions carried beyond those wanted, for accuracy
_ITERATIONS = 4
_BLOCK = 1024  # documents sketched at once, in 16 MiB

# Scripts that put no space between words count by characters: kana, Han ideographs and their extensions.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_IDEOGRAPH}]|[^\\W{_IDEOGRAPH}]+")


def embed(texts: Iterable[str], dimensions: int = 256, seed: int = 0) -> Vectors:
    """Unit rows, float32 [texts, dimensions]: latent semantic analysis, with nothing learned elsewhere.

    A word weighs (1 + ln count) · ln((texts + 1) / texts that hold it). A text's weights, scaled to length 1, are
    folded into 4,096 dimensions by a signed hash (arXiv 0902.2206) and projected on the leading singular directions
    of all texts, which a random start and power iterations find (arXiv 0909.4061). A text without words is a row of
    zeros.

    Rows don't depend on the order of the texts, but for rounding: sort texts by id where bits matter.

    Memory: 8 bytes for each distinct word of each text, 4 · `dimensions` a text, and some 50 MiB.
    """
    words = _Words.of(texts)
    rank = min(dimensions, words.texts, SKETCH)
    rows = np.zeros((words.texts, dimensions), dtype=np.float32)
    random = np.random.default_rng(derive(seed, "embedding"))
    basis = random.standard_normal((SKETCH, min(rank + _OVERSAMPLING, SKETCH)), dtype=np.float32)
    for _ in range(_ITERATIONS):
        image = np.zeros_like(basis)
        for start in range(0, words.texts, _BLOCK):
            block = words.sketch(start, start + _BLOCK)
            image += block.T @ (block @ basis)
        basis = np.linalg.qr(image)[0]
    # The leading directions within the space found: without this, those cut off would be arbitrary ones.
    gram = np.zeros((basis.shape[1], basis.shape[1]))
    for start in range(0, words.texts, _BLOCK):
        projected = words.sketch(start, start + _BLOCK) @ basis
        gram += projected.T @ projected
    basis = basis @ np.linalg.eigh(gram)[1][:, ::-1][:, :rank].astype(np.float32)
    for start in range(0, words.texts, _BLOCK):
        rows[start : start + _BLOCK, :rank] = words.sketch(start, start + _BLOCK) @ basis
    return _unit(rows)


@dataclass
class _Words:
    """The weighted words of all texts, one text after another.

    Attributes:
        features: uint32[words], below `FEATURES`.
        weights: float32[words]; those of a text have length 1 together.
        borders: int64[texts + 1], where each text begins.
    """

    features: npt.NDArray[np.uint32]
    weights: Vectors
    borders: npt.NDArray[np.int64]

    @property
    def texts(self) -> int:
        return len(self.borders) - 1

    @staticmethod
    def of(texts: Iterable[str]) -> _Words:
        features: list[npt.NDArray[np.uint32]] = []
        counts: list[Vectors] = []
        for text in texts:
            found = Counter(map(_feature, _WORD.findall(text[:CHARACTERS].lower())))
            # Sorted, so that sums run in one order.
            ordered = sorted(found.items())
            features.append(np.array([feature for feature, _ in ordered], dtype=np.uint32))
            counts.append(np.array([count for _, count in ordered], dtype=np.float32))
        borders = np.cumsum([0, *map(len, features)])
        flat = np.concatenate([*features, np.empty(0, np.uint32)])
        weights = np.log(np.concatenate([*counts, np.empty(0, np.float32)])) + 1
        holding = np.bincount(flat, minlength=FEATURES)
        weights *= np.log((len(features) + 1) / np.maximum(holding, 1)).astype(np.float32)[flat]
        owner = np.repeat(np.arange(len(features)), np.diff(borders))
        lengths = np.sqrt(np.bincount(owner, weights.astype(np.float64) ** 2, minlength=len(features)))
        weights /= lengths.astype(np.float32)[owner]
        return _Words(flat, weights, borders)

    def sketch(self, start: int, stop: int) -> Vectors:
        """The texts from `start` to `stop`, folded: float32 [texts, SKETCH]."""
        borders = self.borders[start : stop + 1]
        part = slice(borders[0], borders[-1])
        features = self.features[part]
        rows = np.repeat(np.arange(len(borders) - 1), np.diff(borders))
        signed = np.where(features & _SIGN, -self.weights[part], self.weights[part])
        size = (len(borders) - 1) * SKETCH
        folded = np.bincount(rows * SKETCH + features % SKETCH, signed, minlength=size)
        return folded.astype(np.float32).reshape(-1, SKETCH)


@lru_cache(maxsize=1 << 18)
def _feature(word: str) -> int:
    return xxhash.xxh64_intdigest(word.encode("utf-8", "surrogatepass")) % FEATURES


def _unit(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # What is left of a text none of whose words lies in these directions is rounding, not a direction.
    unit: Vectors = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-6)
    return unit
