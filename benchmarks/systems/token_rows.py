"""Random batches, the same in every environment."""

from __future__ import annotations

import hashlib

import numpy as np

from benchmarks.systems.shapes import Shape


def token_rows(shape: Shape, step: int) -> np.ndarray:
    """Ids `[rows, length + 1]` of a step: inputs are all but the last column, targets all but the first."""
    generator = np.random.default_rng(step)
    return generator.integers(0, shape.vocabulary, (shape.rows, shape.length + 1), dtype=np.int64)


def digest(rows: np.ndarray) -> str:
    """A hash of the ids, to compare what systems were given."""
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:16]
