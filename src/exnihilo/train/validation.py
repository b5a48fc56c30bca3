"""Loss on held-out rows during training, in nats per token and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import token_losses
from exnihilo.tokens.batch import SOURCE, Batch


@dataclass(frozen=True)
class HeldOut:
    """Rows to validate on, and the names of where their text comes from."""

    batch: Batch
    sources: list[str]


class HeldOutLoss:
    """The mean loss of `model` on the same held-out rows each time it is called.

    `token_bytes` holds the raw bytes of every id (`Tokenizer.token_bytes`). `rows` go through the model at
    once. With several `sources`, the batch says in `extra["source"]` which of them each position is from. Call it in
    evaluation mode and without gradients.
    """

    def __init__(
        self,
        model: Decoder,
        batch: Batch,
        token_bytes: Sequence[bytes],
        *,
        rows: int,
        sources: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.parts = batch.split(-(-len(batch) // rows))
        sizes = torch.zeros(model.config.vocab_size, dtype=torch.long)
        sizes[: len(token_bytes)] = torch.tensor([len(raw) for raw in token_bytes])
        self.sources = list(sources) if len(sources) > 1 else [""]
        trained = batch.weights != 0
        self.bytes = self._by_source(sizes[batch.targets[trained]], self._whose(batch)[trained])

    def __call__(self) -> dict[str, float]:
        """`loss`: nats per trained token; `bits_per_byte`: all nats / (ln 2 · bytes of the trained tokens),
        where special tokens cost nats and have no bytes. With several sources also `loss/<source>` and
        `bits_per_byte/<source>`."""
        device = next(self.model.parameters()).device
        nats = torch.zeros(len(self.sources), dtype=torch.float64)
        weight = torch.zeros_like(nats)
        for part in self.parts:
            losses, weights = token_losses(self.model, part.to(device))
            whose = self._whose(part)[part.weights != 0]
            nats += self._by_source((losses * weights).cpu(), whose)
            weight += self._by_source(weights.cpu(), whose)
        found = _figures("", float(nats.sum()), float(weight.sum()), float(self.bytes.sum()))
        if len(self.sources) > 1:
            columns = zip(self.sources, nats.tolist(), weight.tolist(), self.bytes.tolist(), strict=True)
            for name, *sums in columns:
                found |= _figures(f"/{name}", *sums)
        return found

    def _whose(self, batch: Batch) -> Tensor:
        """The index of each position's source, `[rows, length]`."""
        return batch.extra[SOURCE] if len(self.sources) > 1 else torch.zeros_like(batch.tokens)

    def _by_source(self, values: Tensor, whose: Tensor) -> Tensor:
        """The values `[n]` summed by source, float64 `[sources]`."""
        sums = torch.zeros(len(self.sources), dtype=torch.float64)
        return sums.index_add_(0, whose, values.double())


def _figures(suffix: str, nats: float, weight: float, size: float) -> dict[str, float]:
    if not weight:
        return {}
    found = {f"loss{suffix}": nats / weight}
    if size:
        found[f"bits_per_byte{suffix}"] = nats / math.log(2) / size
    return found
