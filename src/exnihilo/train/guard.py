"""Which steps to take: non-finite values and outliers leave the model untouched."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, pstdev
from typing import Any

WINDOW = 128
PATIENCE = 5
"""Bad steps in a row: so many non-finite ones are a divergence, so many outliers are a new level."""


class Guard:
    """Judges a step by its mean loss and gradient norm against the last 128 that were accepted.

    A value above mean + `sigmas` standard deviations is an outlier (the rule of OLMo-core); nothing is one
    before 128 steps are known. Five outliers in a row mean that the level has moved for good, so the window
    starts again instead of skipping for ever.
    """

    def __init__(self, sigmas: float | None) -> None:
        self.sigmas = sigmas
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.norms: deque[float] = deque(maxlen=WINDOW)
        self.non_finite_in_a_row = 0
        self.outliers_in_a_row = 0

    @property
    def diverged(self) -> bool:
        return self.non_finite_in_a_row >= PATIENCE

    def judge(self, loss: float, norm: float) -> str | None:
        """Why the step must be skipped, or None: it is accepted and remembered."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.non_finite_in_a_row += 1
            return f"not finite: loss {loss:.4g}, gradient norm {norm:.4g}"
        self.non_finite_in_a_row = 0
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
        mean, spread = fmean(window), pstdev(window)
        limit = mean + self.sigmas * spread
        # A window without any spread (a constant loss) says nothing about what is usual.
        if spread == 0 or value <= limit:
            return None
        return f"outlier: {name} {value:.4g} above {limit:.4g} (mean {mean:.4g} + {self.sigmas:g} sigma)"

    def state(self) -> dict[str, Any]:
        return {
            "losses": list(self.losses),
            "norms": list(self.norms),
            "non_finite_in_a_row": self.non_finite_in_a_row,
            "outliers_in_a_row": self.outliers_in_a_row,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.losses = deque(state["losses"], maxlen=WINDOW)
        self.norms = deque(state["norms"], maxlen=WINDOW)
        self.non_finite_in_a_row = state["non_finite_in_a_row"]
        self.outliers_in_a_row = state["outliers_in_a_row"]
