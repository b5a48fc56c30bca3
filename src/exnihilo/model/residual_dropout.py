"""Dropout of what blocks add to the residual stream, more of it the higher the block, as LIMA was trained with (arXiv
2305.11206)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.core.errors import ConfigError
from exnihilo.core.seeds import derive
from exnihilo.model.decoder import Decoder
from exnihilo.model.gpt2 import GPT2Block
from exnihilo.model.layers import Block


def ramp(depth: int, top: float) -> list[float]:
    """The rate of each block: from 0 at the bottom one in equal steps to `top` at the last.

    Raises ConfigError for a single block, which would be bottom and top.
    """
    if depth < 2:
        raise ConfigError(
            "residual_dropout: it rises from block to block, and this model has one; leave it at 0"
        )
    return [top * block / (depth - 1) for block in range(depth)]


class ResidualDropout:
    """Drops numbers of what each block's attention and feed-forward network write, and scales up the others.

    It works inside `drawn` alone, which an objective enters in training: generation, validation and every other pass
    see the model as it is. The numbers that are kept are drawn before the pass
    and not in it, so that compiled blocks multiply with them as with any other input.
    """

    def __init__(self, model: Decoder, top: float) -> None:
        self.width = model.config.width
        self._layers: list[tuple[nn.Module, float]] = []
        for block, rate in zip(model.blocks, ramp(len(model.blocks), top), strict=True):
            assert isinstance(block, Block | GPT2Block)
            for layer in (block.attention.out, block.feed_forward):
                # On layers without a rate, too: a compiled block stands for all, whether they have hooks or not.
                _keep(layer, None)
                layer.register_forward_hook(_drop)
                if rate:
                    self._layers.append((layer, rate))

    @contextmanager
    def drawn(self, seeds: Sequence[int], length: int, device: torch.device) -> Iterator[None]:
        """Within it a pass over rows of `length` tokens drops what the rows' seeds say."""
        generators = [torch.Generator(device).manual_seed(derive(seed, "dropout")) for seed in seeds]
        for layer, rate in self._layers:
            kept = torch.empty(len(seeds), length, self.width, device=device)
            for row, generator in zip(kept, generators, strict=True):
                row.bernoulli_(1 - rate, generator=generator)
            _keep(layer, kept.div_(1 - rate))
        try:
            yield
        finally:
            for layer, _ in self._layers:
                _keep(layer, None)


def _keep(layer: nn.Module, kept: Tensor | None) -> None:
    # On the layer itself, so that a compiler finds it in the same place in every block.
    layer.kept = kept  # type: ignore[assignment]


def _drop(layer: nn.Module, inputs: Any, out: Tensor) -> Tensor:
    kept: Any = layer.kept
    return out if kept is None else out * kept
