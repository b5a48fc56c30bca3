"""Training by exnihilo: `Decoder`, its blocks compiled where asked, and steps as `fit` does them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.systems.exnihilo_step import Step, as_batch
from benchmarks.systems.model_folder import write_random
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import WARM_UP, Steps
from exnihilo.core.machine import matmul_peak
from exnihilo.model.compiled import compile_blocks
from exnihilo.model.folder import load_model
from exnihilo.train.budget import batch_flops

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
    flops = batch_flops(
        model.config, as_batch(torch.zeros(batch_shape.rows, batch_shape.length + 1, dtype=torch.long))
    )
    _running["steps"] = Steps(Step(model), batch_shape)
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
