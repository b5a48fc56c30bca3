"""`config.json` of `transformers`, for every family of decoders: written from a shape, and read to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.model.config import DecoderConfig
from exnihilo.tokenizer.folder import read_json

CLASSES = {"qwen3": "Qwen3", "qwen2": "Qwen2", "llama": "Llama", "mistral": "Mistral", "gpt2": "GPT2"}
"""What the classes of each layout begin with in `transformers`."""


def config_json(
    config: DecoderConfig, *, bos: int | None, end: int, eos: int, pad: int, dtype: str = "float32"
) -> dict[str, Any]:
    """`config.json`. Both spellings are written where they changed between releases of `transformers`."""
    shape = _gpt2_shape(config) if config.layout == "gpt2" else _llama_shape(config)
    return {
        "architectures": [CLASSES[config.layout] + "ForCausalLM"]
        if config.layout != "gpt2"
        else ["GPT2LMHeadModel"],
        "model_type": config.layout,
        "vocab_size": config.vocab_size,
        **shape,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "bos_token_id": bos,
        "eos_token_id": [end, eos] if end != eos else eos,
        "pad_token_id": pad,
        "torch_dtype": dtype,
        "dtype": dtype,
    }


def _llama_shape(config: DecoderConfig) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling is not None:
        scaling = config.rope_scaling
        rope = {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.old_length,
        }
    shape: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in _NAMES.items()}
    shape |= {
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "rope_theta": config.rope_theta,
        "rope_parameters": {**rope, "rope_theta": config.rope_theta},
    }
    if config.rope_scaling is not None:
        shape["rope_scaling"] = rope
    if config.layout in ("qwen3", "llama"):
        shape["attention_bias"] = False
    if config.layout == "llama":
        shape["mlp_bias"] = False
    if config.layout in ("qwen3", "qwen2"):
        shape["use_sliding_window"] = False
    if config.layout == "mistral":
        shape["sliding_window"] = None
    return shape


def _gpt2_shape(config: DecoderConfig) -> dict[str, Any]:
    return {
        "n_embd": config.width,
        "n_layer": config.depth,
        "n_head": config.heads,
        "n_inner": config.hidden,
        "n_positions": config.max_length,
        "n_ctx": config.max_length,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": "gelu_new",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


_NAMES = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "hidden": "intermediate_size",
    "norm_eps": "rms_norm_eps",
    "max_length": "max_position_embeddings",
}
"""Our names of the shape, and those in `config.json` of all layouts but GPT-2's."""
_GPT2_NAMES = {
    "width": "n_embd",
    "depth": "n_layer",
    "heads": "n_head",
    "norm_eps": "layer_norm_epsilon",
    "max_length": "n_positions",
}
_MISSING: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "kv_heads": lambda raw: raw.get("num_attention_heads"),
    "head_dim": lambda raw: _divided(raw.get("hidden_size"), raw.get("num_attention_heads")),
}
"""What `transformers` takes for keys that the older layouts may leave out."""


def read_config(folder: Path) -> DecoderConfig:
    """The shape of the model in `folder`.

    Raises Refused where there is none, a key is missing or impossible, or the model is of a family, or uses a part of
    its family, that is not known here.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise Refused(f"{folder}: no config.json, so this is no model folder; give the folder of a model")
    raw = read_json(path, "give the folder of a model")
    layout = raw.get("model_type")
    if layout not in CLASSES:
        raise Refused(
            f"{path}: model_type is {layout!r}; known are {', '.join(map(repr, CLASSES))}, give a model of one of them"
        )
    _refuse_unknown_parts(raw, path)
    names = {"vocab_size": "vocab_size"} | (_GPT2_NAMES if layout == "gpt2" else _NAMES)
    values: dict[str, Any] = {ours: raw[theirs] for ours, theirs in names.items() if theirs in raw}
    if layout == "gpt2":
        values |= _gpt2_values(raw)
    else:
        if layout != "qwen3":
            for ours, default in _MISSING.items():
                if values.get(ours) is None and (value := default(raw)) is not None:
                    values[ours] = value
        values |= _rope(raw, path)
        values["tied"] = raw.get("tie_word_embeddings", False)
    window = raw.get("sliding_window") if layout == "mistral" else None
    if window is not None and "max_length" in values:
        # Up to so many tokens attention in a window is attention to everything.
        values["max_length"] = min(values["max_length"], window)
    missing = [theirs for ours, theirs in names.items() if ours not in values]
    if missing:
        raise Refused(f"{path}: {missing[0]} is missing; make or fetch the model again")
    try:
        return validate(DecoderConfig, {**values, "layout": layout}, where=str(path))
    except ConfigError as error:
        problem = error.problems[0]
        for ours, theirs in names.items():
            problem = problem.replace(f"{path}: {ours}:", f"{path}: {theirs}:")
        raise Refused(f"{problem}; make or fetch the model again") from error


def _refuse_unknown_parts(raw: Mapping[str, Any], path: Path) -> None:
    """Keys of `config.json` that change what the weights compute, in ways that the decoder has not."""
    for name in ("attention_bias", "mlp_bias", "use_sliding_window", "scale_attn_by_inverse_layer_idx"):
        if raw.get(name):
            raise Refused(f"{path}: {name} is on, which is not known here; give a model without it")
    activation = raw.get("activation_function" if raw["model_type"] == "gpt2" else "hidden_act")
    known = ("gelu_new", "gelu_pytorch_tanh") if raw["model_type"] == "gpt2" else ("silu",)
    if activation is not None and activation not in known:
        raise Refused(
            f"{path}: its activation is {activation!r}, and {known[0]!r} is known; give such a model"
        )


def _rope(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling`, by either spelling."""
    # Where both are there, what stretches counts.
    rope = {**(raw.get("rope_parameters") or {}), **(raw.get("rope_scaling") or {})}
    values: dict[str, Any] = {"rope_theta": rope.get("rope_theta", raw.get("rope_theta", 10_000.0))}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "llama3":
        values["rope_scaling"] = {
            "old_length": rope.get("original_max_position_embeddings"),
            **{name: rope.get(name) for name in ("factor", "low_freq_factor", "high_freq_factor")},
        }
    elif kind != "default":
        raise Refused(
            f"{path}: rotary positions are stretched by {kind!r}; 'default' and 'llama3' are known, give such a model"
        )
    return values


def _gpt2_values(raw: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = raw.get("n_embd"), raw.get("n_head")
    inner = raw.get("n_inner")
    size = _divided(width, heads)
    values: dict[str, Any] = {"tied": raw.get("tie_word_embeddings", True)}
    if heads is not None:
        values["kv_heads"] = heads
    if size is not None:
        values["head_dim"] = size
    if inner is not None or isinstance(width, int):
        values["hidden"] = 4 * width if inner is None and isinstance(width, int) else inner
    return values


def _divided(whole: Any, parts: Any) -> int | None:
    if isinstance(whole, int) and isinstance(parts, int) and parts > 0 and whole % parts == 0:
        return whole // parts
    return None
