"""Which steps to take, and when to give up: outliers, non-finite values, and a loss that left its level."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

WINDOW = 128
PATIENCE = 5
"""Bad steps in a row: so many non-finite ones are a divergence, so many outliers are a new level."""
SMOOTHING = 0.9
"""Decay of the averaged loss whose minimum is the best level: about the last ten steps."""


class Guard:
    """Judges a step by its mean loss and gradient norm against the last 128 that were accepted.

    A value above mean + `sigmas` standard deviations is an outlier (the rule of OLMo-core); nothing is one
    before 128 steps are known. Five outliers in a row mean that the level has moved for good, so the window
    starts again instead of skipping for ever. With `sigmas=None` only values that are not finite are bad.
    """

    def __init__(self, sigmas: float | None) -> None:
        self.sigmas = sigmas
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.norms: deque[float] = deque(maxlen=WINDOW)
        self.level = Level()
        self.non_finite_in_a_row = 0
        self.outliers_in_a_row = 0

    @property
    def healthy(self) -> bool:
        """Whether nothing speaks against the weights that the last step was judged with."""
        return not (self.non_finite_in_a_row or self.outliers_in_a_row or self.level.above_in_a_row)

    @property
    def diverged(self) -> str | None:
        """How the training has diverged, or None."""
        if self.non_finite_in_a_row >= PATIENCE:
            return f"loss or gradient was not finite in {PATIENCE} steps in a row"
        if self.level.above_in_a_row >= WINDOW:
            return (
                f"the loss was above {self.level.limit:.4g} in {WINDOW} steps in a row, "
                f"after {self.level.best:.4g}"
            )
        return None

    def judge(self, loss: float, norm: float) -> str | None:
        """Why the step must be skipped, or None: it is accepted and remembered."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.non_finite_in_a_row += 1
            return f"not finite: loss {loss:.4g}, gradient norm {norm:.4g}"
        self.non_finite_in_a_row = 0
        if self.sigmas is not None:
            self.level.update(loss)
        reason = self._outlier("loss", loss, self.losses) or self._outlier("gradient norm", norm, self.norms)
        if reason is not None:
            self.outliers_in_a_row += 1
            if self.outliers_in_a_row < PATIENCE:
                return reason
            self.losses.clear()
            self.norms.clear()
            self.outliers_in_a_row = 0
            return f"{reason}; {PATIENCE} in a row, so the level has changed: starting to measure it again"
        self.outliers_in_a_row = 0
        self.losses.append(loss)
        self.norms.append(norm)
        return None

    def _outlier(self, name: str, value: float, window: deque[float]) -> str | None:
        if self.sigmas is None or len(window) < WINDOW:
            return None
        # Not `statistics.pstdev`, whose exact fractions would take 0.1 ms of each step.
        mean = math.fsum(window) / WINDOW
        spread = math.sqrt(math.fsum((x - mean) ** 2 for x in window) / WINDOW)
        limit = mean + self.sigmas * spread
        # A window without any spread (a constant loss) says nothing about what is usual.
        if spread == 0 or value <= limit:
            return None
        return f"outlier: {name} {value:.4g} above {limit:.4g} (mean {mean:.4g} + {self.sigmas:g} sigma)"

    def state(self) -> dict[str, Any]:
        return {
            "losses": list(self.losses),
            "norms": list(self.norms),
            "level": self.level.state(),
            "non_finite_in_a_row": self.non_finite_in_a_row,
            "outliers_in_a_row": self.outliers_in_a_row,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.losses = deque(state["losses"], maxlen=WINDOW)
        self.norms = deque(state["norms"], maxlen=WINDOW)
        self.level = Level(**state.get("level", {}))
        self.non_finite_in_a_row = state["non_finite_in_a_row"]
        self.outliers_in_a_row = state["outliers_in_a_row"]


class Level:
    """Counts the steps in a row whose loss was far above the best level that the training had reached.

    Far is the largest of half of what had been learned since the first step, 0.3 times the best level, and 0.5
    (nats, for a language model). The first is for training from nothing, the second for one that fails before
    it has learned anything, the third for fine-tuning, whose loss may be next to nothing. Noise does not enter:
    each of 128 steps has to be above, so that a single usual one begins the count anew. No healthy run that we
    have is ever called diverged (`tests/train/test_divergence.py` says how many).
    """

    def __init__(
        self,
        first: float | None = None,
        average: float = 0.0,
        weight: float = 0.0,
        best: float = math.inf,
        above_in_a_row: int = 0,
    ) -> None:
        self.first, self.average, self.weight = first, average, weight
        self.best, self.above_in_a_row = best, above_in_a_row

    @property
    def limit(self) -> float:
        """What a loss must not stay above."""
        first = self.best if self.first is None else self.first
        return self.best + max((first - self.best) / 2, 0.3 * abs(self.best), 0.5)

    def update(self, loss: float) -> None:
        if self.first is None:
            self.first = loss
        self.average = SMOOTHING * self.average + (1 - SMOOTHING) * loss
        self.weight = SMOOTHING * self.weight + (1 - SMOOTHING)
        self.best = min(self.best, self.average / self.weight)
        self.above_in_a_row = self.above_in_a_row + 1 if loss > self.limit else 0

    def state(self) -> dict[str, Any]:
        # JSON has no infinity: before the first step there is nothing to save.
        return {} if self.first is None else dict(vars(self))
