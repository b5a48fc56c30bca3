"""Training by exnihilo: `Decoder`, the causal objective, `Accumulator`, clipping and AdamW, as `fit` uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.systems.model_folder import write_random
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import BETAS, CLIP, EPS, LR, WARM_UP, Steps
from exnihilo.core.machine import matmul_peak
from exnihilo.model.compiled import compile_blocks
from exnihilo.model.folder import load_model
from exnihilo.objectives.causal import causal
from exnihilo.tokens.batch import Batch
from exnihilo.train.budget import batch_flops
from exnihilo.train.config import OptimizerConfig
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.step import Accumulator, clip

_running: dict[str, Steps] = {}


def write(shape: dict[str, Any], folder: str) -> None:
    """Write the model where every system loads it from."""
    write_random(Shape(**shape), Path(folder))


def prepare(shape: dict[str, Any], folder: str, compiled: bool) -> dict[str, Any]:
    """Load, compile where asked, warm up; parameters and the losses of those steps."""
    model = load_model(Path(folder))
    model.train()
    if compiled:
        compile_blocks(model)
    batch_shape = Shape(**shape)
    accumulator = Accumulator(model, causal, None)
    optimizers = Optimizers(
        model, OptimizerConfig(name="adamw", lr=LR, lr_embedding=LR, betas=BETAS, eps=EPS, weight_decay=0.0)
    )

    def step(ids: np.ndarray) -> float:
        sums = accumulator.gradients(as_batch(torch.from_numpy(ids)))
        clip(accumulator.parameters, CLIP)
        optimizers.step(1.0)
        return sums.loss

    flops = batch_flops(
        model.config, as_batch(torch.zeros(batch_shape.rows, batch_shape.length + 1, dtype=torch.long))
    )
    _running["steps"] = Steps(step, batch_shape)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "flops": flops,
        **measure(WARM_UP),
    }


def measure(steps: int) -> dict[str, Any]:
    """See `Steps.timed`."""
    return _running["steps"].timed(steps)


def peak(seconds: float) -> float:
    """FLOP/s of the best float32 matrix product within `seconds`."""
    return matmul_peak(seconds)


def as_batch(ids: torch.Tensor) -> Batch:
    """Rows of one segment each; every position is trained."""
    tokens, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    return Batch(tokens, positions, torch.zeros_like(tokens), targets, torch.ones(tokens.shape))
