"""A model folder in the Hugging Face layout: written so that `transformers` loads it with no custom code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from exnihilo.core.artifact import write_atomic
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, ExnihiloError, Refused
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.lora import LoraLinear
from exnihilo.tokenizer.folder import read_json

if TYPE_CHECKING:
    from exnihilo.tokenizer.tokenizer import Tokenizer


def to_qwen3(model: Decoder) -> dict[str, Tensor]:
    """Weights under the names of `transformers`' Qwen3; fused matrices are split, a tied head is left out.

    Raises ExnihiloError for a model with adapters, which have no place in that layout.
    """
    if any(isinstance(module, LoraLinear) for module in model.modules()):
        raise ExnihiloError(
            "the model has adapters: save it with save_tuned, or fold them into its weights first"
        )
    return qwen3_names(model.config, model.state_dict())


def qwen3_names(config: DecoderConfig, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """`to_qwen3` of a decoder's `state_dict()`."""
    query, key_value = config.attention_width, config.kv_heads * config.head_dim
    named = {"model.embed_tokens.weight": own["embedding.weight"], "model.norm.weight": own["norm.weight"]}
    for i in range(config.depth):
        block, layer = f"blocks.{i}.", f"model.layers.{i}."
        q, k, v = torch.split(own[block + "attention.qkv.weight"], [query, key_value, key_value])
        gate, up = own[block + "feed_forward.gate_up.weight"].chunk(2)
        named |= {
            layer + "input_layernorm.weight": own[block + "attention_norm.weight"],
            layer + "self_attn.q_proj.weight": q,
            layer + "self_attn.k_proj.weight": k,
            layer + "self_attn.v_proj.weight": v,
            layer + "self_attn.o_proj.weight": own[block + "attention.out.weight"],
            layer + "self_attn.q_norm.weight": own[block + "attention.query_norm.weight"],
            layer + "self_attn.k_norm.weight": own[block + "attention.key_norm.weight"],
            layer + "post_attention_layernorm.weight": own[block + "feed_forward_norm.weight"],
            layer + "mlp.gate_proj.weight": gate,
            layer + "mlp.up_proj.weight": up,
            layer + "mlp.down_proj.weight": own[block + "feed_forward.down.weight"],
        }
    if not config.tied:
        named["lm_head.weight"] = own["output.weight"]
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def from_qwen3(config: DecoderConfig, named: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_qwen3`. Raises KeyError with the name of a missing weight."""
    own = {"embedding.weight": named["model.embed_tokens.weight"], "norm.weight": named["model.norm.weight"]}
    for i in range(config.depth):
        block, layer = f"blocks.{i}.", f"model.layers.{i}."
        attention, mlp = layer + "self_attn.", layer + "mlp."
        own |= {
            block + "attention_norm.weight": named[layer + "input_layernorm.weight"],
            block + "attention.qkv.weight": torch.cat([named[f"{attention}{p}_proj.weight"] for p in "qkv"]),
            block + "attention.out.weight": named[attention + "o_proj.weight"],
            block + "attention.query_norm.weight": named[attention + "q_norm.weight"],
            block + "attention.key_norm.weight": named[attention + "k_norm.weight"],
            block + "feed_forward_norm.weight": named[layer + "post_attention_layernorm.weight"],
            block + "feed_forward.gate_up.weight": torch.cat(
                [named[mlp + "gate_proj.weight"], named[mlp + "up_proj.weight"]]
            ),
            block + "feed_forward.down.weight": named[mlp + "down_proj.weight"],
        }
    if not config.tied:
        own["output.weight"] = named["lm_head.weight"]
    return own


def qwen3_config(config: DecoderConfig, *, bos: int, end: int, eos: int, pad: int) -> dict[str, Any]:
    """`config.json`. Both spellings are written where they changed between releases of `transformers`."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_length,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tied,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "use_cache": True,
        "bos_token_id": bos,
        "eos_token_id": [end, eos],
        "pad_token_id": pad,
        "torch_dtype": "float32",
        "dtype": "float32",
    }


def save_model(model: Decoder, tokenizer: Path, out: Path) -> None:
    """Write weights, `config.json`, `generation_config.json` and the tokenizer's files into `out`."""
    from exnihilo.tokenizer.tokenizer import Tokenizer

    loaded = Tokenizer.load(tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    ids = {"bos": loaded.bos, "end": loaded.end, "eos": loaded.eos, "pad": loaded.pad}
    loaded.save(out)
    write_atomic(out / "model.safetensors", save(to_qwen3(model), metadata={"format": "pt"}))
    write_atomic(out / "config.json", json.dumps(qwen3_config(model.config, **ids), indent=2) + "\n")
    generation = {
        "bos_token_id": ids["bos"],
        "eos_token_id": [ids["end"], ids["eos"]],
        "pad_token_id": ids["pad"],
        "do_sample": False,
    }
    write_atomic(out / "generation_config.json", json.dumps(generation, indent=2) + "\n")


NAMES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "hidden": "intermediate_size",
    "tied": "tie_word_embeddings",
    "norm_eps": "rms_norm_eps",
    "max_length": "max_position_embeddings",
}
"""Our names of the shape, and those in `config.json`."""
NEEDS_OFF = ("attention_bias", "rope_scaling", "use_sliding_window")
"""Keys of `config.json` that change what the weights compute, in ways that the decoder has not."""


def read_config(folder: Path) -> DecoderConfig:
    """The shape of the model in `folder`.

    Raises Refused where there is none, a key is missing or impossible, or the model is of another family.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise Refused(f"{folder}: no config.json, so this is no model folder; give the folder of a model")
    raw = read_json(path, "give the folder of a model")
    if raw.get("model_type") != "qwen3":
        raise Refused(
            f"{path}: model_type is {raw.get('model_type')!r}; only 'qwen3' is known, give a model of that layout"
        )
    for name in NEEDS_OFF:
        if raw.get(name):
            raise Refused(f"{path}: {name} is on, which is not known here; give a model without it")
    rope = raw.get("rope_parameters") or {}
    values = {ours: raw[theirs] for ours, theirs in NAMES.items() if theirs in raw}
    missing = [theirs for ours, theirs in NAMES.items() if ours not in values]
    if missing:
        raise Refused(f"{path}: {missing[0]} is missing; make or fetch the model again")
    values["rope_theta"] = rope.get("rope_theta", raw.get("rope_theta", 10_000.0))
    try:
        return validate(DecoderConfig, values, where=str(path))
    except ConfigError as error:
        problem = error.problems[0]
        for ours, theirs in NAMES.items():
            problem = problem.replace(f"{path}: {ours}:", f"{path}: {theirs}:")
        raise Refused(f"{problem}; make or fetch the model again") from error


def load_model(folder: Path, device: torch.device | str = "cpu") -> Decoder:
    """The model in `folder`, in float32. Raises Refused where weights are missing, cut short or of other shapes."""
    config = read_config(folder)
    path = folder / "model.safetensors"
    if not path.is_file():
        raise Refused(f"{folder}: no model.safetensors beside config.json; make or fetch the model again")
    try:
        named = load_file(path)
    except SafetensorError as error:
        raise Refused(f"{path}: cut short or altered ({error}); make or fetch the model again") from error
    broken = [name for name, tensor in named.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise Refused(f"{path}: {broken[0]} holds values that are not finite; make or fetch the model again")
    model = Decoder(config)
    try:
        own = {name: tensor.float() for name, tensor in from_qwen3(config, named).items()}
        model.load_state_dict(own)
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise Refused(
            f"{path}: weights do not match config.json ({reason}); put back the file that belongs to them"
        ) from error
    return model.to(device)


def load_with_tokenizer(folder: Path, device: torch.device | str = "cpu") -> tuple[Decoder, Tokenizer]:
    """The model in `folder`, in float32, and its tokenizer.

    Raises Refused as `load_model` and `Tokenizer.load`, and where the tokenizer has ids that the model has not.
    """
    from exnihilo.tokenizer.tokenizer import Tokenizer

    tokenizer, model = Tokenizer.load(folder), load_model(folder, device)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise Refused(
            f"{folder}: its tokenizer has {tokenizer.vocab_size} ids, the model {model.config.vocab_size}; "
            "put back the tokenizer that the model was trained with"
        )
    return model, tokenizer
