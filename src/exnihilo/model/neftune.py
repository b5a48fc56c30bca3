"""NEFTune: noise on the embeddings while instructions are tuned on (arXiv 2310.05914)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.core.seeds import derive
from exnihilo.model.decoder import Decoder


def segment_lengths(segments: Tensor) -> Tensor:
    """For each position of packed rows `[B, T]` the number of positions of its segment."""
    rows, length = segments.shape
    apart = segments + (length + 2) * torch.arange(rows, device=segments.device)[:, None]
    _, place, counts = torch.unique_consecutive(apart, return_inverse=True, return_counts=True)
    lengths: Tensor = counts[place]
    return lengths


def embedding_noise(segments: Tensor, seeds: Sequence[int], width: int, alpha: float) -> Tensor:
    """Noise `[B, T, width]` for packed rows with these segments `[B, T]` and a seed for each row; none on padding.

    Each number is uniform in ±alpha / √(L · width), where L is the length of the conversation that it falls on: in a
    packed row that of its segment, since the paper's scale is for a sample, whatever stands beside it.
    """
    rows = [
        torch.rand(
            segments.shape[1],
            width,
            generator=torch.Generator(segments.device).manual_seed(derive(seed, "neftune")),
            device=segments.device,
        )
        for seed in seeds
    ]
    scale = alpha / (segment_lengths(segments) * width).sqrt() * (segments >= 0)
    return torch.stack(rows).mul_(2).sub_(1).mul_(scale[:, :, None])


@contextmanager
def noisy_embedding(model: Decoder, noise: Tensor) -> Iterator[None]:
    """Within it `noise` `[B, T, width]` is added to the embeddings of what the model reads; a tied output head is not
    concerned."""

    def add(layer: nn.Module, inputs: Any, embedded: Tensor) -> Tensor:
        return embedded + noise.to(embedded.dtype)

    handle = model.embedding.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
