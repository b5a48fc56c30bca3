"""Next-token prediction: the objective of pretraining and, with weights on the answers alone, of SFT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model.decoder import Decoder
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import Batch

SHAPES = 16
"""Numbers of positions that the output head is run on, of those a batch has."""
SMALL = 512
"""Positions below which the exact count is used: such batches are small, and so are buffers for their shapes."""


def causal(model: Decoder, batch: Batch) -> Loss:
    """Cross-entropy in nats, `Σ weightᵢ · -log p(targetᵢ)`; its weight is `Σ weightᵢ`.

    The output head runs only where the weight is not 0: with half of the tokens masked and a vocabulary of
    4,096, SFT's largest tensor is halved and the result is the same.
    """
    losses, weights = token_losses(model, batch)
    return Loss(total=(losses * weights).sum(), weight=weights.sum(dtype=torch.float64))


def token_losses(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """Nats and weights, both `[n]`, of the n positions whose weight is not 0, in row order."""
    hidden = model.hidden(batch.tokens, batch.positions, batch.segments)
    kept = batch.weights.flatten().nonzero()[:, 0]
    # Matrix libraries keep code and buffers for each shape they meet. A count that differs at every step cost 1 GB
    # of them in 200 bfloat16 steps; in multiples of a sixteenth of the batch there are few.
    filler = kept.new_zeros(-len(kept) % max(1, batch.weights.numel() // SHAPES) if len(kept) >= SMALL else 0)
    logits = model.head(hidden.flatten(0, 1)[torch.cat((kept, filler))])[: len(kept)]
    losses = F.cross_entropy(logits, batch.targets.flatten()[kept], reduction="none")
    return losses, batch.weights.flatten()[kept]
