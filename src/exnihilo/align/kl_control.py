"""How strongly a policy is held to its reference: a constant, or what keeps the divergence at a target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KLControl:
    """The weight β of the divergence, from rollout to rollout.

    With a `target`, in nats a sequence, `β ← β (1 + clip(KL / target - 1, ±0.2) · responses / horizon)` (arXiv
    1909.08593); without one β stays.
    """

    beta: float
    target: float | None = None
    horizon: int = 10_000

    def after(self, beta: float, kl: float, responses: int) -> float:
        """β after a rollout of so many responses whose divergence was `kl` nats a sequence."""
        if self.target is None:
            return beta
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return beta * (1 + error * responses / self.horizon)
