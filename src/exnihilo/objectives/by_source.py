"""Next-token prediction whose loss is also told by where the text comes from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import causal, cross_entropy
from exnihilo.objectives.loss import Loss, Objective
from exnihilo.tokens.batch import SOURCE, Batch

NATS, WEIGHT = "nats/", "weight/"
"""What the names of a source's two sums begin with; their ratio is its mean loss."""


def by_source(sources: Sequence[str]) -> Objective:
    """The objective `causal`, with the sums of each source among its metrics where there are several."""
    return BySource(sources) if len(sources) > 1 else causal


class BySource:
    """Cross-entropy as `causal`; for each source the metrics `nats/<source>` and `weight/<source>`.

    Batches carry `extra["source"]`, `[rows, length]`, an index into `sources`. Every source is among the metrics of
    every batch, so that their names don't depend on the data, and both are sums, so that micro-batches and ranks
    add up. They cost one pass over a loss a token: nothing that could be measured beside a step.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = list(sources)

    def __call__(self, model: Decoder, batch: Batch) -> Loss:
        total, losses = cross_entropy(model, batch)
        weights, whose = batch.weights.flatten(), batch.extra[SOURCE].flatten()
        sums = torch.zeros(2, len(self.sources), dtype=torch.float64, device=weights.device)
        sums[0].index_add_(0, whose, (losses * weights).double())
        sums[1].index_add_(0, whose, weights.double())
        metrics = {
            f"{prefix}{name}": value
            for prefix, row in ((NATS, sums[0]), (WEIGHT, sums[1]))
            for name, value in zip(self.sources, row.unbind(), strict=True)
        }
        return Loss(total, weights.sum(dtype=torch.float64), metrics)
