"""What reinforcement learning is asked for. Only the standard library: every environment reads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Rollout:
    """A step's answers and how they are learned from, the same for every system.

    Attributes:
        prompts, group: questions a step, and answers to each.
        longest: tokens of an answer at most.
        context: tokens of a question and an answer at most.
        row: tokens of a row of ours, in which several answers share their question.
        kl: weight of the divergence from the start.
        rate: learning rate; small, so that policies whose samples differ go on writing answers of the same lengths.
        low, high: how far a probability may fall and rise.
    """

    prompts: int = 16
    group: int = 8
    longest: int = 128
    context: int = 256
    row: int = 1024
    kl: float = 0.05
    rate: float = 1e-5
    low: float = 0.2
    high: float = 0.28

    @property
    def answers(self) -> int:
        return self.prompts * self.group

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `Rollout(**…)` is the way back."""
        return asdict(self)
