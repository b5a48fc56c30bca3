"""What may end a training before its last step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Verdict:
    """What is thought of a training so far.

    Attributes:
        best: the step after which the weights were the best so far; 0, those that it began with.
        score: what makes them so; higher is better.
        stop: in plain words why it should stop and go back there, or None.
    """

    best: int
    score: float
    stop: str | None = None


class Watch(Protocol):
    """Looks at a training after each `every` steps, when a checkpoint is saved, too, and at its end.

    What it says must follow from the records of the steps before: after a resume it is not asked again.
    """

    every: int

    def __call__(self, done: int) -> Verdict | None: ...
