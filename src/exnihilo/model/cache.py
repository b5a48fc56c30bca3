"""Keys and values of tokens that the model has read, so that none is computed twice.

The decoder knows a cache by two things: where new tokens stand (`positions`), and what they attend to
(`layers[i].attend`). `KVCache` is the plain one, for rows of one length. The generation engine has its own
(`infer/attention.py`), for rows of many lengths that share what they begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.core.errors import ExnihiloError
from exnihilo.model.config import DecoderConfig


class CachedAttention(Protocol):
    """Attention of one layer over what it keeps."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keep the new keys and values `[B, T, kv_heads, D]`, and mix for the queries `[B, T, heads, D]`.

        Gives `[B, T, heads × D]`. A token sees what its row held before and the new ones up to itself.
        """
        ...


class Cache(Protocol):
    """What the decoder needs of a cache."""

    @property
    def layers(self) -> Sequence[CachedAttention]: ...

    def positions(self, new: int) -> Tensor:
        """Positions `[B, new]` of the tokens about to be read."""
        ...


class LayerCache:
    """Keys and values of one layer, `[B, kv_heads, capacity, head_dim]`; `length` columns are filled."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        self.key, self.value = key, value
        self.length = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `CachedAttention`."""
        start, end = self.length, self.length + key.shape[1]
        self.key[:, :, start:end] = key.transpose(1, 2)
        self.value[:, :, start:end] = value.transpose(1, 2)
        self.length = end
        return causal_attention(query, self.key[:, :, :end], self.value[:, :, :end])


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Mix `[B, T, heads × D]` for the last T of n tokens: queries `[B, T, heads, D]`, others `[B, kv_heads, n, D]`."""
    batch, new, heads, size = query.shape
    total, kv_heads = key.shape[2], key.shape[1]
    if new == 1:
        # The query heads of one key head stand in line as if they were tokens: grouped heads without a copy.
        grouped = query.reshape(batch, kv_heads, heads // kv_heads, size)
        return F.scaled_dot_product_attention(grouped, key, value).reshape(batch, 1, heads * size)
    mask = None
    if new < total:
        mask = torch.ones(new, total, dtype=torch.bool, device=query.device).tril(total - new)
    mixed = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=heads != kv_heads,
    )
    return mixed.transpose(1, 2).reshape(batch, new, heads * size)


class KVCache:
    """One `LayerCache` per block, for `batch` rows that are equally long.

    Memory: `2 × depth × batch × kv_heads × capacity × head_dim` elements. Raises ExnihiloError for a capacity
    beyond the model's context.
    """

    def __init__(
        self,
        config: DecoderConfig,
        batch: int,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity > config.max_length:
            raise ExnihiloError(
                f"a cache of {capacity} tokens is longer than the model's context of {config.max_length}"
            )
        self.batch, self.capacity = batch, capacity
        shape = (config.depth, 2, batch, config.kv_heads, capacity, config.head_dim)
        store = torch.zeros(shape, dtype=dtype, device=device)
        self.layers = [LayerCache(key, value) for key, value in store]

    @property
    def length(self) -> int:
        """Tokens held of each row."""
        return self.layers[0].length

    def positions(self, new: int) -> Tensor:
        """Positions `[batch, new]` of the tokens about to be read. Raises ExnihiloError where they do not fit."""
        total = self.length + new
        if total > self.capacity:
            raise ExnihiloError(f"{total} tokens do not fit the cache of {self.capacity}")
        device = self.layers[0].key.device
        return torch.arange(self.length, total, device=device).expand(self.batch, new)

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens of each row."""
        if not 0 <= length <= self.length:
            raise ExnihiloError(f"cannot rewind a cache of {self.length} tokens to {length}")
        for layer in self.layers:
            layer.length = length
