"""Tuning by `peft` on `transformers`: adapters on Qwen3ForCausalLM, its own loss, scaled-dot-product attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import Qwen3ForCausalLM

from benchmarks.systems.plain_step import plain_step
from benchmarks.systems.resident import peak_resident, resident
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import WARM_UP, Steps

_running: dict[str, Any] = {}


def prepare(shape: dict[str, Any], folder: str, adapter: str) -> dict[str, Any]:
    """Load and warm up; what is trained, and the warm-up's losses."""
    _running["before"] = resident()
    base = Qwen3ForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, Path(folder) / adapter, is_trainable=True)
    model.train()

    def loss_of(tokens: Tensor, targets: Tensor) -> Tensor:
        # `shift_labels`: targets that are already those of their positions.
        loss: Tensor = model(input_ids=tokens, labels=targets, shift_labels=targets, use_cache=False).loss
        return loss

    _running["steps"] = Steps(plain_step(model, loss_of, compiled=False), Shape(**shape))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {"trained": trained, **measure(WARM_UP)}


def measure(steps: int) -> dict[str, Any]:
    """See `Steps.timed`."""
    found: dict[str, Any] = _running["steps"].timed(steps)
    return found


def memory() -> float:
    """MiB that model and training took at most, beyond what the process held before them."""
    return peak_resident() - float(_running["before"])
