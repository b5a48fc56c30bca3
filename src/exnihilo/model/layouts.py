"""The names and shapes of weights in `transformers`, for every family of decoders: from ours, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from exnihilo.model.config import DecoderConfig

Weights = dict[str, Tensor]


def named_weights(config: DecoderConfig, own: Weights) -> Weights:
    """A decoder's `state_dict()` under the names of `transformers`; fused matrices are split, a tied head left out."""
    named = _gpt2_names(config, own) if config.layout == "gpt2" else _llama_names(config, own)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def own_weights(config: DecoderConfig, named: Weights) -> Weights:
    """The inverse of `named_weights`. Raises KeyError with the name of a missing weight."""
    return _from_gpt2(config, named) if config.layout == "gpt2" else _from_llama(config, named)


def _pairs(config: DecoderConfig, i: int) -> list[tuple[str, str]]:
    """(our name, theirs) of what is one tensor on both sides in block `i` of Llama and its kin."""
    block, layer = f"blocks.{i}.", f"model.layers.{i}."
    pairs = [
        (block + "attention_norm.weight", layer + "input_layernorm.weight"),
        (block + "attention.out.weight", layer + "self_attn.o_proj.weight"),
        (block + "feed_forward_norm.weight", layer + "post_attention_layernorm.weight"),
        (block + "feed_forward.down.weight", layer + "mlp.down_proj.weight"),
    ]
    if config.normalises_heads:
        pairs += [
            (block + f"attention.{ours}_norm.weight", layer + f"self_attn.{theirs}_norm.weight")
            for ours, theirs in (("query", "q"), ("key", "k"))
        ]
    return pairs


def _fused(config: DecoderConfig, i: int) -> list[tuple[str, list[str], list[int]]]:
    """(our name, theirs, rows of each) of what is one tensor here and several there."""
    block, layer = f"blocks.{i}.", f"model.layers.{i}."
    key_value = config.kv_heads * config.head_dim
    rows = [config.attention_width, key_value, key_value]
    kinds = ("weight", "bias") if config.qkv_bias else ("weight",)
    fused = [
        (f"{block}attention.qkv.{kind}", [f"{layer}self_attn.{p}_proj.{kind}" for p in "qkv"], rows)
        for kind in kinds
    ]
    gated = [f"{layer}mlp.{p}_proj.weight" for p in ("gate", "up")]
    return [*fused, (block + "feed_forward.gate_up.weight", gated, [config.hidden] * 2)]


def _llama_names(config: DecoderConfig, own: Weights) -> Weights:
    named = {"model.embed_tokens.weight": own["embedding.weight"], "model.norm.weight": own["norm.weight"]}
    for i in range(config.depth):
        named |= {theirs: own[ours] for ours, theirs in _pairs(config, i)}
        for ours, theirs, rows in _fused(config, i):
            named |= dict(zip(theirs, torch.split(own[ours], rows), strict=True))
    if not config.tied:
        named["lm_head.weight"] = own["output.weight"]
    return named


def _from_llama(config: DecoderConfig, named: Weights) -> Weights:
    own = {"embedding.weight": named["model.embed_tokens.weight"], "norm.weight": named["model.norm.weight"]}
    for i in range(config.depth):
        own |= {ours: named[theirs] for ours, theirs in _pairs(config, i)}
        own |= {ours: torch.cat([named[name] for name in theirs]) for ours, theirs, _ in _fused(config, i)}
    if not config.tied:
        own["output.weight"] = named["lm_head.weight"]
    return own


_GPT2 = {
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def _gpt2_pairs(config: DecoderConfig) -> list[tuple[str, str]]:
    pairs = [
        ("embedding.weight", "transformer.wte.weight"),
        ("position_embedding.weight", "transformer.wpe.weight"),
    ]
    pairs += [(f"norm.{kind}", f"transformer.ln_f.{kind}") for kind in ("weight", "bias")]
    for i in range(config.depth):
        for ours, theirs in _GPT2.items():
            pairs += [
                (f"blocks.{i}.{ours}.{kind}", f"transformer.h.{i}.{theirs}.{kind}")
                for kind in ("weight", "bias")
            ]
    return pairs


def _is_turned(name: str) -> bool:
    """Whether GPT-2 has a matrix as `[in, out]`."""
    return name.endswith(".weight") and name.split(".")[-2].startswith("c_")


def _gpt2_names(config: DecoderConfig, own: Weights) -> Weights:
    return {
        theirs: own[ours].t() if _is_turned(theirs) else own[ours] for ours, theirs in _gpt2_pairs(config)
    }


def _from_gpt2(config: DecoderConfig, named: Weights) -> Weights:
    # The first releases name them without `transformer.`.
    prefix = "" if "wte.weight" in named else "transformer."
    own = {}
    for ours, theirs in _gpt2_pairs(config):
        tensor = named[prefix + theirs.removeprefix("transformer.")]
        own[ours] = tensor.t().contiguous() if _is_turned(theirs) else tensor
    return own
