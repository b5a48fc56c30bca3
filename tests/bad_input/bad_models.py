"""Folders of models that somebody brought, and that are broken."""

from __future__ import annotations

from pathlib import Path

from bad_case import Case, cut, edit

SFT = "sft --model model --examples chats.jsonl --steps 1"


def broken_weights() -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file("model/model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, "model/model.safetensors")


def narrower() -> None:
    edit("model/config.json", hidden_size=32)


CASES = [
    Case(
        "A model without weights",
        "chat model --prompt 1+1?",
        3,
        "error: model: no model.safetensors beside config.json; make or fetch the model again",
        make=lambda: Path("model/model.safetensors").unlink(),
    ),
    Case(
        "Weights that are cut off",
        "chat model --prompt 1+1?",
        3,
        "error: model/model.safetensors: cut short or altered (…); make or fetch the model again",
        make=lambda: cut("model/model.safetensors"),
    ),
    Case(
        "Weights of no bytes",
        "chat model --prompt 1+1?",
        3,
        "error: model/model.safetensors: cut short or altered (…); make or fetch the model again",
        {"model/model.safetensors": b""},
    ),
    Case(
        "Weights of another shape than the config",
        "chat model --prompt 1+1?",
        3,
        (
            "error: model/model.safetensors: weights do not match config.json (…); put back the file that "
            "belongs to them"
        ),
        make=narrower,
    ),
    Case(
        "Weights that are not numbers",
        "chat model --prompt 1+1?",
        3,
        (
            "error: model/model.safetensors: model.norm.weight holds values that are not finite; make or "
            "fetch the model again"
        ),
        make=broken_weights,
    ),
    Case(
        "A config of no model",
        SFT,
        3,
        (
            "error: model/config.json: model_type is None; known are 'qwen3', 'qwen2', 'llama', 'mistral', 'gpt2', "
            "give a model of one of them"
        ),
        {"model/config.json": "{}"},
    ),
    Case(
        "A config that is cut off",
        SFT,
        3,
        "error: model/config.json: not JSON (…); fetch or make it again",
        make=lambda: cut("model/config.json"),
    ),
    Case(
        "A config without a key",
        SFT,
        3,
        "error: model/config.json: head_dim is missing; make or fetch the model again",
        make=lambda: edit("model/config.json", head_dim=None),
    ),
    Case(
        "A config with an impossible value",
        SFT,
        3,
        (
            "error: model/config.json: num_key_value_heads: got 0; allowed: int ≥ 1; make or fetch the model "
            "again"
        ),
        make=lambda: edit("model/config.json", num_key_value_heads=0),
    ),
    Case(
        "A config with text for a number",
        SFT,
        3,
        (
            'error: model/config.json: hidden_size: got "wide"; allowed: int ≥ 8; make or fetch the model '
            "again"
        ),
        make=lambda: edit("model/config.json", hidden_size="wide"),
    ),
    Case(
        "A model of another family",
        SFT,
        3,
        (
            "error: model/config.json: model_type is 'mamba'; known are 'qwen3', 'qwen2', 'llama', 'mistral', 'gpt2', "
            "give a model of one of them"
        ),
        make=lambda: edit("model/config.json", model_type="mamba"),
    ),
    Case(
        "A model that stretches its positions",
        SFT,
        3,
        (
            "error: model/config.json: rotary positions are stretched by 'yarn'; 'default' and 'llama3' are known, "
            "give such a model"
        ),
        make=lambda: edit("model/config.json", rope_scaling={"rope_type": "yarn", "factor": 4.0}),
    ),
]
