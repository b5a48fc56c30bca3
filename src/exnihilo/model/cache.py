"""The key-value cache of generation.

Rows are aligned on the right: every row's newest key stands in the same column, so that appending is one slice
copy, and a row with a shorter prompt starts at a later column (`start`), which the attention mask hides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from exnihilo.core.errors import ExnihiloError
from exnihilo.model.config import DecoderConfig


class LayerCache:
    """Keys and values of one layer, `[B, kv_heads, capacity, head_dim]`; `length` columns are filled."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        self.key, self.value = key, value
        self.length = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store `[B, kv_heads, T, head_dim]` after what is there; return everything stored so far."""
        end = self.length + key.shape[2]
        self.key[:, :, self.length : end] = key
        self.value[:, :, self.length : end] = value
        self.length = end
        return self.key[:, :, :end], self.value[:, :, :end]


class KVCache:
    """One `LayerCache` per block, and where each row begins.

    `starts[b]` columns on the left of row `b` are padding. Memory: `2 × depth × B × kv_heads × capacity × head_dim`
    elements.
    """

    def __init__(
        self,
        config: DecoderConfig,
        batch: int,
        capacity: int,
        *,
        starts: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity > config.max_length:
            raise ExnihiloError(
                f"a cache of {capacity} tokens is longer than the model's context of {config.max_length}"
            )
        shape = (batch, config.kv_heads, capacity, config.head_dim)
        self.capacity = capacity
        self.starts = (
            torch.zeros(batch, dtype=torch.long, device=device) if starts is None else starts.to(device)
        )
        self.layers = [
            LayerCache(
                torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device)
            )
            for _ in range(config.depth)
        ]

    @property
    def length(self) -> int:
        """Columns filled, padding on the left included."""
        return self.layers[0].length

    @property
    def lengths(self) -> Tensor:
        """Keys of each row `[B]`, padding left out."""
        return self.length - self.starts

    def positions(self, new: int) -> Tensor:
        """Positions `[B, new]` of the tokens about to be appended; padding gets 0."""
        columns = torch.arange(self.length, self.length + new, device=self.starts.device)
        return (columns - self.starts[:, None]).clamp(min=0)

    def mask(self, new: int) -> Tensor:
        """Which of the `length + new` keys each of `new` queries may see: `[B, 1, new, length + new]`."""
        total = self.length + new
        if total > self.capacity:
            raise ExnihiloError(f"{total} tokens do not fit the cache of {self.capacity}")
        keys = torch.arange(total, device=self.starts.device)
        causal = keys <= keys[self.length :, None]
        real = keys >= self.starts[:, None]
        seen = causal & real[:, None]
        # A padding query sees only itself: a row of the mask without any key would be NaN.
        seen |= (keys == keys[self.length :, None]) & ~real[:, self.length :, None]
        return seen[:, None]

    def select(self, rows: Tensor) -> None:
        """Keep, repeat or reorder rows: row `i` becomes what row `rows[i]` was."""
        self.starts = self.starts[rows]
        for layer in self.layers:
            layer.key, layer.value = layer.key[rows], layer.value[rows]

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` columns."""
        if not 0 <= length <= self.length:
            raise ExnihiloError(f"cannot rewind a cache of {self.length} tokens to {length}")
        for layer in self.layers:
            layer.length = length
