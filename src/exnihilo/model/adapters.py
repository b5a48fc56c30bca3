"""The adapters of a whole decoder: put on, switched off, merged, taken off again.

A fused matrix holds several projections; adapters belong to projections, named as in the Qwen3 layout and in PEFT:
`model.layers.0.self_attn.q_proj`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from exnihilo.core.errors import ConfigError
from exnihilo.model.decoder import Decoder
from exnihilo.model.gpt2 import GPT2Block
from exnihilo.model.layers import Block
from exnihilo.model.lora import Adapter, LoraLinear
from exnihilo.model.lora_config import BLOCK_TARGETS, GPT2_TARGETS, LoraConfig, Target


@dataclass(frozen=True)
class Place:
    """A linear layer of a decoder: the attribute of `owner` that holds it, and the rows of its projections.

    `prefix` stands before a projection's name: `model.layers.0.self_attn.`.
    """

    owner: nn.Module
    attribute: str
    prefix: str
    rows: dict[str, int]

    @property
    def layer(self) -> nn.Linear | LoraLinear:
        """The layer that stands there now."""
        found = getattr(self.owner, self.attribute)
        assert isinstance(found, nn.Linear | LoraLinear)
        return found

    def put(self, layer: nn.Linear | LoraLinear) -> None:
        """Let `layer` stand there."""
        setattr(self.owner, self.attribute, layer)


def places(model: Decoder) -> Iterator[Place]:
    """Every linear layer of a decoder, a tied output head left out: it is the embedding."""
    config = model.config
    key_value = config.kv_heads * config.head_dim
    fused = {"q_proj": config.attention_width, "k_proj": key_value, "v_proj": key_value}
    for i, block in enumerate(model.blocks):
        if isinstance(block, GPT2Block):
            attention, mlp = f"transformer.h.{i}.attn.", f"transformer.h.{i}.mlp."
            yield Place(block.attention, "qkv", attention, {"c_attn": 3 * config.width})
            yield Place(block.attention, "out", attention, {"c_proj": config.width})
            yield Place(block.feed_forward, "up", mlp, {"c_fc": config.hidden})
            yield Place(block.feed_forward, "down", mlp, {"c_proj": config.width})
            continue
        assert isinstance(block, Block)
        attention, mlp = f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
        yield Place(block.attention, "qkv", attention, fused)
        yield Place(block.attention, "out", attention, {"o_proj": config.width})
        gated = {"gate_proj": config.hidden, "up_proj": config.hidden}
        yield Place(block.feed_forward, "gate_up", mlp, gated)
        yield Place(block.feed_forward, "down", mlp, {"down_proj": config.width})
    if model.output is not None:
        yield Place(model, "output", "", {"lm_head": config.vocab_size})


def add_lora(model: Decoder, config: LoraConfig, seed: int) -> None:
    """Freeze the model and put fresh adapters on it, which change nothing until they are trained.

    Raises ConfigError where an adapter cannot be: a tied output head, a rank above that of the matrix, a model that
    has adapters, or no layer of these names.
    """
    targets: list[Target] = config.targets
    if model.config.layout == "gpt2" and targets == BLOCK_TARGETS:
        targets = GPT2_TARGETS
    if "lm_head" in config.targets and model.output is None:
        raise ConfigError(
            "lora.targets: lm_head of this model is its embedding (tied), which is no linear layer; leave lm_head out"
        )
    generator = torch.Generator().manual_seed(seed)
    fresh = {}
    for name, weight in projections(model):
        if name.rpartition(".")[2] not in targets:
            continue
        if config.rank > min(weight.shape):
            raise ConfigError(
                f"lora.rank: {config.rank}, and {name} is {weight.shape[0]} x {weight.shape[1]}, so that a rank "
                f"above {min(weight.shape)} adds nothing; give at most that"
            )
        fresh[name] = Adapter.new(weight, config.rank, config.scale, dora=config.dora, generator=generator)
    if not fresh:
        there = sorted({name.rpartition(".")[2] for name, _ in projections(model)})
        raise ConfigError(
            f"lora.targets: {', '.join(targets)}: no layer of this model is called so; it has {', '.join(there)}"
        )
    attach(model, fresh, dropout=config.dropout)


def attach(model: Decoder, adapters: Mapping[str, Adapter], *, dropout: float = 0.0) -> None:
    """Freeze the model and put adapters on the projections whose full names they go by.

    Raises ConfigError for a model that has adapters.
    """
    if adapters_of(model):
        raise ConfigError("this model has adapters already; fold them into its weights first")
    model.requires_grad_(False)
    for place in places(model):
        own = {name: one for name in place.rows if (one := adapters.get(place.prefix + name))}
        layer = place.layer
        if own and isinstance(layer, nn.Linear):
            place.put(LoraLinear(layer, place.rows, own, dropout))


def projections(model: Decoder) -> Iterator[tuple[str, Tensor]]:
    """Full name and weight `[out, in]` of everything that an adapter can be put on."""
    for place in places(model):
        parts = torch.split(place.layer.weight.detach(), list(place.rows.values()))
        for name, part in zip(place.rows, parts, strict=True):
            yield place.prefix + name, part


def adapters_of(model: Decoder) -> dict[str, Adapter]:
    """The adapters of a model by the full names of their projections; empty where it has none."""
    return {
        place.prefix + name: adapter
        for place in places(model)
        if isinstance(layer := place.layer, LoraLinear)
        for name, adapter in layer.adapters.items()
        if isinstance(adapter, Adapter)
    }


def merge(model: nn.Module) -> None:
    """Let every adapted layer multiply with `W + BA`, for generation and evaluation; not for training."""
    for layer in lora_layers(model):
        layer.merge()


def unmerge(model: nn.Module) -> None:
    """Undo `merge`: the weights are those they were, to the bit."""
    for layer in lora_layers(model):
        layer.unmerge()


@contextmanager
def merged(model: nn.Module) -> Iterator[None]:
    """Within it the model is merged, and as fast as one without adapters; one that has none is left alone."""
    merge(model)
    try:
        yield
    finally:
        unmerge(model)


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within it the model is what it was without adapters: the reference of a KL penalty needs no second copy.

    A model without adapters is left alone.
    """
    layers = lora_layers(model)
    before = [layer.enabled for layer in layers]
    for layer in layers:
        layer.enabled = False
    try:
        yield
    finally:
        for layer, enabled in zip(layers, before, strict=True):
            layer.enabled = enabled


@torch.no_grad()
def fold(model: Decoder) -> None:
    """Add the adapters to the weights for good: a plain model again, every parameter of which can be trained.

    The weights are written to, so that whoever shares them sees the sum.
    """
    for place in places(model):
        layer = place.layer
        if isinstance(layer, LoraLinear):
            layer.base.weight.copy_(layer.weight)
            place.put(layer.base)
    model.requires_grad_(True)


def lora_layers(model: nn.Module) -> list[LoraLinear]:
    """The layers of a model that have adapters."""
    return [module for module in model.modules() if isinstance(module, LoraLinear)]
