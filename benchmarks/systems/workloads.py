"""What generation is asked for. Only numpy beside the standard library: every environment reads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FIRST_ORDINARY = 8
"""Ids below are special tokens."""


@dataclass(frozen=True)
class Workload:
    """Requests of random ids, all there from the beginning. No token ends a text; its length does.

    Attributes:
        requests: texts to generate.
        prompt: tokens of each prompt.
        shortest, longest: new tokens; each request has its own number between them, evenly spread.
        one_prompt: all requests have the same prompt.
        greedy: otherwise sampled at temperature 1 from the whole vocabulary.
    """

    requests: int
    prompt: int
    shortest: int
    longest: int
    vocabulary: int
    one_prompt: bool = False
    greedy: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `Workload(**…)` is the way back."""
        return asdict(self)

    def prompts(self, turn: int) -> list[list[int]]:
        """The prompts of a turn: new ones each time, so that no cache of an earlier turn helps."""
        generator = np.random.default_rng(turn)
        different = 1 if self.one_prompt else self.requests
        ids = generator.integers(FIRST_ORDINARY, self.vocabulary, (different, self.prompt)).tolist()
        return [list(row) for row in (ids * self.requests)[: self.requests]]

    def lengths(self, turn: int) -> list[int]:
        """New tokens of each request, in an order that differs from turn to turn."""
        even = np.linspace(self.shortest, self.longest, self.requests).round().astype(int)
        return [int(n) for n in np.random.default_rng(turn).permutation(even)]
