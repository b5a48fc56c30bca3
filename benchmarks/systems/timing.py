"""Optimizer steps timed the same way for every system, and the settings of AdamW that all have."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.systems.shapes import Shape
from benchmarks.systems.token_rows import digest, token_rows

LR = 3e-4
BETAS = (0.9, 0.95)
EPS = 1e-8
CLIP = 1.0
WARM_UP = 2
"""Steps before any is timed."""
STEPS = 1000
"""Of a run that has an end: more than are ever taken."""


class Steps:
    """Optimizer steps on random ids, done one after another by `step(ids[rows, length + 1]) -> loss`."""

    def __init__(self, step: Callable[[np.ndarray], float], shape: Shape) -> None:
        self.step, self.shape, self.done = step, shape, 0

    def timed(self, number: int) -> dict[str, Any]:
        """Do `number` steps; seconds of all of them together, their losses, and a hash of the ids.

        Batches are drawn before the clock starts: they are the benchmark's, not the systems'.
        """
        batches = [token_rows(self.shape, self.done + i) for i in range(number)]
        start = time.perf_counter()
        losses = [self.step(ids) for ids in batches]
        seconds = time.perf_counter() - start
        self.done += number
        return {"seconds": seconds, "losses": losses, "ids": digest(np.concatenate(batches))}
