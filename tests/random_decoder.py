"""The decoder that tests of many rooms use: small, and random throughout."""

from __future__ import annotations

from typing import Any

import torch

from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder

SHAPE = {"width": 32, "depth": 2, "heads": 2, "kv_heads": 2, "head_dim": 16, "hidden": 48, "max_length": 64}


def random_decoder(vocab_size: int, *, noise: float = 0.1, seed: int = 0, **shape: Any) -> Decoder:
    """A decoder of `SHAPE`, but for what is given, with `noise` times a normal number added to each parameter.

    Fresh blocks add nothing to their input: without the noise a test could not see what they do.
    """
    torch.manual_seed(seed)
    model = Decoder(DecoderConfig(vocab_size=vocab_size, **{**SHAPE, **shape}))
    if noise:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * noise)
    return model
