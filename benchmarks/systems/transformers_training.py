"""Training by `transformers`: Qwen3ForCausalLM with its own loss and scaled-dot-product attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from benchmarks.systems.plain_step import plain_step
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import WARM_UP, Steps

_running: dict[str, Steps] = {}


def prepare(shape: dict[str, Any], folder: str, compiled: bool) -> dict[str, Any]:
    """Load, compile where asked, warm up; parameters and the losses of those steps."""
    model = Qwen3ForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)
    model.train()

    def loss_of(tokens: Tensor, targets: Tensor) -> Tensor:
        # `shift_labels`: targets that are already those of their positions.
        loss: Tensor = model(input_ids=tokens, labels=targets, shift_labels=targets, use_cache=False).loss
        return loss

    _running["steps"] = Steps(plain_step(model, loss_of, compiled=compiled), Shape(**shape))
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), **measure(WARM_UP)}


def measure(steps: int) -> dict[str, Any]:
    """See `Steps.timed`."""
    return _running["steps"].timed(steps)
