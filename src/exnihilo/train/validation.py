"""Loss on held-out rows during training, in nats per token and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import token_losses
from exnihilo.tokens.batch import Batch


class HeldOutLoss:
    """The mean loss of `model` on the same held-out rows each time it is called.

    `token_bytes` holds the raw bytes of every id (`Tokenizer.token_bytes`). `rows` go through the model at
    once. Call it in evaluation mode and without gradients.
    """

    def __init__(self, model: Decoder, batch: Batch, token_bytes: Sequence[bytes], *, rows: int) -> None:
        self.model = model
        self.parts = batch.split(-(-len(batch) // rows))
        sizes = torch.zeros(model.config.vocab_size, dtype=torch.long)
        sizes[: len(token_bytes)] = torch.tensor([len(raw) for raw in token_bytes])
        self.bytes = int(sizes[batch.targets[batch.weights != 0]].sum())

    def __call__(self) -> dict[str, float]:
        """`loss`: nats per trained token; `bits_per_byte`: all nats / (ln 2 · bytes of the trained tokens),
        where special tokens cost nats and have no bytes."""
        device = next(self.model.parameters()).device
        nats, weight = 0.0, 0.0
        for part in self.parts:
            losses, weights = token_losses(self.model, part.to(device))
            nats += float((losses * weights).sum())
            weight += float(weights.sum())
        found = {"loss": nats / weight}
        if self.bytes:
            found["bits_per_byte"] = nats / math.log(2) / self.bytes
        return found
