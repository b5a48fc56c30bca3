"""Batches whose rows carry a seed each, for what an objective draws while it trains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from exnihilo.core.seeds import derive
from exnihilo.tokens.batch import Batch, Source
from exnihilo.tokens.state import Scalars, check_state

SEED = "seed"
"""Extra field: int64 `[rows]`, what is drawn for a row depends on."""


class RowSeeds:
    """A source that gives each row of `source` a seed by step and place in the whole batch.

    What is drawn from them is the same whatever the number of micro-batches and processes, and after a resume; one
    generator for a pass over several rows would draw other numbers for each split.
    """

    def __init__(self, source: Source, seed: int) -> None:
        self.source, self.seed = source, seed

    def next(self, step: int, model: Any) -> Batch:
        """The batch of `step` with its seeds in `extra["seed"]`."""
        batch = self.source.next(step, model)
        seeds = torch.tensor([derive(self.seed, step, row) for row in range(len(batch))])
        return replace(batch, extra=batch.extra | {SEED: seeds})

    def state(self) -> dict[str, int | float | str]:
        """That of the source, and the seed."""
        return self.source.state() | {"row_seeds": self.seed}

    def resume(self, state: Scalars) -> None:
        """As the source; refused under another seed, too. Raises Refused as the source does."""
        check_state({"row_seeds": state.get("row_seeds", "absent")}, {"row_seeds": self.seed})
        self.source.resume({key: value for key, value in state.items() if key != "row_seeds"})
