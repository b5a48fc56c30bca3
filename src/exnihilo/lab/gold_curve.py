"""The curves of over-optimisation: what a gold reward does as the policy moves away, and where it turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

FORMS: dict[str, str] = {"best_of_n": "d (α − β d)", "rl": "d (α − β log d)"}
"""Gold reward gained, by d = √KL, of best-of-n and of reinforcement learning (arXiv 2210.10760)."""
SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "best_of_n": lambda d: d * d,
    "rl": lambda d: d * np.log(d),
}


@dataclass(frozen=True)
class Fit:
    """A form with its coefficients; `r2` is the share of the variance that it explains."""

    form: str
    alpha: float
    beta: float
    r2: float

    @property
    def peak(self) -> float | None:
        """The distance at which the form turns; None where it doesn't."""
        if self.beta <= 0:
            return None
        return (
            self.alpha / (2 * self.beta) if self.form == "best_of_n" else math.exp(self.alpha / self.beta - 1)
        )

    def at(self, distances: Sequence[float]) -> list[float]:
        """The form's values at distances above 0."""
        d = np.asarray(distances, dtype=np.float64)
        return [float(value) for value in self.alpha * d - self.beta * SHAPES[self.form](d)]


def fit_form(form: str, distances: Sequence[float], gained: Sequence[float]) -> Fit:
    """Least squares of a form of `FORMS`; distances of 0 say nothing and are left out.

    Raises ValueError for fewer than three other points.
    """
    d, gold = (np.asarray(values, dtype=np.float64) for values in (distances, gained))
    d, gold = d[d > 0], gold[d > 0]
    if len(d) < 3:
        raise ValueError(f"a fit of two coefficients needs at least three distances above 0, not {len(d)}")
    (alpha, beta), *_ = np.linalg.lstsq(np.stack([d, -SHAPES[form](d)], axis=1), gold, rcond=None)
    left = gold - alpha * d + beta * SHAPES[form](d)
    spread = float(((gold - gold.mean()) ** 2).sum())
    return Fit(form, float(alpha), float(beta), 1 - float((left**2).sum()) / spread if spread else 0.0)
