"""An optimizer step of exnihilo as `fit` does it: the causal objective, `Accumulator`, clipping and AdamW."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.systems.timing import BETAS, CLIP, EPS, LR
from exnihilo.core.memory import keep_freed_memory
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import causal
from exnihilo.tokens.batch import Batch
from exnihilo.train.config import OptimizerConfig
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.step import Accumulator


class Step:
    """`step(ids) -> loss` over the parameters of `model` that are trained: all, or its adapters."""

    def __init__(self, model: Decoder) -> None:
        keep_freed_memory()
        self.accumulator = Accumulator(model, causal, None)
        self.optimizers = Optimizers(
            model,
            OptimizerConfig(name="adamw", lr=LR, lr_embedding=LR, betas=BETAS, eps=EPS, weight_decay=0.0),
        )

    def __call__(self, ids: np.ndarray) -> float:
        sums = self.accumulator.gradients(as_batch(torch.from_numpy(ids)), limit=CLIP)
        self.optimizers.step(1.0)
        return sums.loss


def as_batch(ids: torch.Tensor) -> Batch:
    """Rows of one segment each; every position is trained."""
    tokens, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    return Batch(tokens, positions, torch.zeros_like(tokens), targets, torch.ones(tokens.shape))
