"""Training by `litgpt`: its GPT in the Qwen3 layout, its own cross-entropy, the head tied as its `pretrain` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litgpt import GPT, Config
from litgpt.scripts.convert_hf_checkpoint import copy_weights_qwen_3
from litgpt.utils import chunked_cross_entropy
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.systems.plain_step import plain_step
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import WARM_UP, Steps

_running: dict[str, Steps] = {}


def prepare(shape: dict[str, Any], folder: str, compiled: bool) -> dict[str, Any]:
    """Load, compile where asked, warm up; parameters and the losses of those steps."""
    model = GPT(_config(Shape(**shape)))
    weights: dict[str, Tensor] = {}
    copy_weights_qwen_3(model.config, {}, weights, load_file(Path(folder) / "model.safetensors"))
    model.load_state_dict(weights)
    model.transformer.wte.weight = model.lm_head.weight
    model.train()

    def loss_of(tokens: Tensor, targets: Tensor) -> Tensor:
        # In one piece: pieces of 128, its default, save memory and take longer.
        loss: Tensor = chunked_cross_entropy(model(tokens), targets, chunk_size=0)
        return loss

    _running["steps"] = Steps(plain_step(model, loss_of, compiled=compiled), Shape(**shape))
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), **measure(WARM_UP)}


def measure(steps: int) -> dict[str, Any]:
    """See `Steps.timed`."""
    return _running["steps"].timed(steps)


def _config(shape: Shape) -> Config:
    return Config.from_name(
        "Qwen3-0.6B",
        block_size=shape.length,
        vocab_size=shape.vocabulary,
        padded_vocab_size=shape.vocabulary,
        n_layer=shape.depth,
        n_embd=shape.width,
        n_head=shape.heads,
        n_query_groups=shape.heads,
        head_size=shape.head_dim,
        intermediate_size=shape.hidden,
        rope_base=10_000,
        norm_eps=1e-6,
    )
