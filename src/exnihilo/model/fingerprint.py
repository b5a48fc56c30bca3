"""Weights as one hash: adapters and checkpoints name by it what they stand on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from blake3 import blake3
from torch import Tensor


def weights_hash(named: Mapping[str, Tensor], *more: str) -> str:
    """blake3 over names, shapes and float32 values, by sorted name, and then of whatever text counts, too."""
    digest = blake3()
    for name, tensor in sorted(named.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().float().contiguous().flatten().view(torch.uint8).numpy().data)
    for text in more:
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()
