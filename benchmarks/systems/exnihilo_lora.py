"""Tuning by exnihilo with low-rank adapters, or of the whole model: what `fit` does, with AdamW on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.systems.exnihilo_step import Step
from benchmarks.systems.model_folder import write_random
from benchmarks.systems.resident import peak_resident, resident
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import WARM_UP, Steps
from exnihilo.model.adapter_folder import load_adapter, save_adapter
from exnihilo.model.adapters import adapters_of, add_lora
from exnihilo.model.folder import load_model
from exnihilo.model.lora_config import LoraConfig

_running: dict[str, Any] = {}


def write(shape: dict[str, Any], folder: str, rank: int) -> None:
    """Write the base and adapters where every system loads them from, those of DoRA beside LoRA's.

    Fresh adapters change nothing, and would be the same whatever they do: here B is random, too.
    """
    base = Path(folder)
    write_random(Shape(**shape), base)
    for name in ("lora", "dora"):
        model = load_model(base)
        add_lora(model, LoraConfig(rank=rank, alpha=2.0 * rank, dora=name == "dora"), seed=0)
        with torch.no_grad():
            for adapter in adapters_of(model).values():
                adapter.B.normal_(std=0.05)
        save_adapter(model, base / name)


def prepare(shape: dict[str, Any], folder: str, adapter: str | None) -> dict[str, Any]:
    """Load (without `adapter`, all of the model is trained) and warm up; what is trained, and the warm-up's losses."""
    _running["before"] = resident()
    model = load_model(Path(folder))
    if adapter is not None:
        load_adapter(model, Path(folder) / adapter)
    model.train()
    step = Step(model)
    _running["steps"] = Steps(step, Shape(**shape))
    done = measure(WARM_UP)
    held = sum(tensor.numel() * tensor.element_size() for tensor in step.optimizers.tensors().values())
    return {
        "trained": sum(parameter.numel() for parameter in step.accumulator.parameters),
        "optimizer_state": held / 2**20,
        **done,
    }


def measure(steps: int) -> dict[str, Any]:
    """See `Steps.timed`."""
    found: dict[str, Any] = _running["steps"].timed(steps)
    return found


def memory() -> float:
    """MiB that model and training took at most, beyond what the process held before them."""
    return peak_resident() - float(_running["before"])
