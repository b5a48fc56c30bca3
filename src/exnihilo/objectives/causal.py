"""Next-token prediction: the objective of pretraining and, with weights on the answers alone, of SFT."""

from __future__ import annotations

import torch
from torch import Tensor

from exnihilo.model.decoder import Decoder
from exnihilo.objectives.linear_cross_entropy import linear_cross_entropy
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import Batch


def causal(model: Decoder, batch: Batch) -> Loss:
    """Cross-entropy in nats, `Σ weightᵢ · -log p(targetᵢ)`; its weight is `Σ weightᵢ`.

    The output head runs only where the weight is not 0.
    """
    total, _ = cross_entropy(model, batch)
    return Loss(total, batch.weights.sum(dtype=torch.float64))


def token_losses(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """Nats and weights, both `[n]` and without a gradient, of the n positions whose weight is not 0, in row order."""
    with torch.no_grad():
        _, losses = cross_entropy(model, batch)
    kept = batch.weights.flatten() != 0
    return losses[kept], batch.weights.flatten()[kept]


def cross_entropy(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """`Σ weightᵢ · -log p(targetᵢ)`, and `-log p(targetᵢ)` in nats without a gradient, `[rows · length]`; 0 where the
    weight is."""
    hidden = model.hidden(batch.tokens, batch.positions, batch.segments)
    return linear_cross_entropy(
        hidden.flatten(0, 1), model.head_weight, batch.targets.flatten(), batch.weights.flatten()
    )
