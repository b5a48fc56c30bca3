"""The models that all systems load: made by exnihilo, in the Hugging Face layout."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.systems.shapes import Shape
from exnihilo.model.config import DecoderConfig
from exnihilo.model.config_json import config_json
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import to_transformers


def decoder_config(shape: Shape) -> DecoderConfig:
    """Our name for a shape."""
    return DecoderConfig(
        vocab_size=shape.vocabulary,
        width=shape.width,
        depth=shape.depth,
        heads=shape.heads,
        kv_heads=shape.heads,
        head_dim=shape.head_dim,
        hidden=shape.hidden,
        tied=True,
        rope_theta=10_000.0,
        norm_eps=1e-6,
        max_length=shape.length,
    )


@torch.no_grad()
def random_model(shape: Shape) -> Decoder:
    """A model in which no matrix is zero, so that its losses and what it generates depend on every block.

    Matrices have a standard deviation of 1/√fan-in. The embedding's 0.2 spreads the logits over some ±5: the best and
    the second-best token of a step are then seldom within 1e-4 of each other.
    """
    torch.manual_seed(0)
    model = Decoder(decoder_config(shape))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.normal_(std=parameter.shape[1] ** -0.5)
    model.embedding.weight.normal_(std=0.2)
    return model


def write_random(shape: Shape, folder: Path) -> None:
    """That model without a tokenizer: what is measured begins and ends with ids."""
    model = random_model(shape)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(to_transformers(model), folder / "model.safetensors", metadata={"format": "pt"})
    config = config_json(model.config, bos=0, end=7, eos=1, pad=2)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
