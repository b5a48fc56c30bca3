"""The forward pass over new tokens with a cache: what generation runs for every token.

It is the mathematics of `Decoder.hidden` without what training needs. For one token of a small model most of the
time is the calling of operations, so it makes few of them: normalisation and rotation work on the query and key
heads together, and nothing is kept for a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.model.cache import Cache
from exnihilo.model.gpt2 import GELUFeedForward, GPT2Attention, GPT2Block
from exnihilo.model.layers import Attention, Block, RMSNorm

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder


def _call(layer: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = layer(x)
    return out


@torch.no_grad()
def cached_hidden(
    model: Decoder,
    tokens: Tensor,
    cache: Cache,
    linear: Callable[[nn.Module, Tensor], Tensor] = _call,
    wanted: Tensor | None = None,
) -> Tensor:
    """Final hidden states `[B, T, width]` of ids `[B, T]` that follow what the cache holds; no gradient.

    `linear(layer, x)` applies a linear layer. With indices `wanted` `[W]` of tokens, the states are theirs alone,
    `[B, W, width]`: the last block need not go on with the others.
    """
    positions = cache.positions(tokens.shape[1])
    cos, sin = F.embedding(positions, model.cos), F.embedding(positions, model.sin)
    cos, sin = torch.cat((cos, cos), -1)[:, :, None], torch.cat((-sin, sin), -1)[:, :, None]
    x = model.embedded(tokens, positions)
    eps = x.new_tensor(model.config.norm_eps)
    # Attention is in float32 under autocast, too: it would convert all keys and values in every step.
    exact: AbstractContextManager[object] = nullcontext()
    if torch.is_autocast_enabled(x.device.type):
        exact = torch.autocast(x.device.type, enabled=False)
    for block, layer in zip(model.blocks, cache.layers, strict=True):
        assert isinstance(block, Block | GPT2Block)
        attention, feed_forward = block.attention, block.feed_forward
        heads = linear(attention.qkv, _normalised(x, block.attention_norm, eps))
        with exact:
            mixed = layer.attend(*_turned(attention, heads, cos, sin, eps))
        if wanted is not None and block is model.blocks[-1]:
            x, mixed = x[:, wanted], mixed[:, wanted]
        x = x + linear(attention.out, mixed)
        normed = _normalised(x, block.feed_forward_norm, eps)
        if isinstance(feed_forward, GELUFeedForward):
            inner = F.gelu(linear(feed_forward.up, normed), approximate="tanh")
        else:
            gate, up = linear(feed_forward.gate_up, normed).chunk(2, dim=-1)
            inner = F.silu(gate).mul_(up)
        x = x + linear(feed_forward.down, inner)
    return _normalised(x, model.norm, eps)


def _normalised(x: Tensor, norm: nn.Module, eps: Tensor) -> Tensor:
    if not isinstance(norm, RMSNorm):
        return _call(norm, x)
    return (x * _inverse_rms(x, eps)).mul_(norm.weight)


def _inverse_rms(x: Tensor, eps: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.addcmul(eps, norm, norm, value=1 / x.shape[-1]).rsqrt_()


def _turned(
    attention: Attention | GPT2Attention, heads: Tensor, cos: Tensor, sin: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries `[B, T, heads, D]`, keys and values `[B, T, kv_heads, D]`; the first two normalised and turned, where the
    layout does so."""
    if isinstance(attention, GPT2Attention):
        heads = heads.view(*heads.shape[:2], -1, attention.head_dim).to(cos.dtype)
        query, key, value = heads.chunk(3, dim=2)
        return query, key, value
    queries, keys = attention.heads, attention.kv_heads
    heads = heads.view(*heads.shape[:2], queries + 2 * keys, attention.head_dim)
    turned = heads[:, :, : queries + keys].to(cos.dtype)
    if attention.query_norm is not None and attention.key_norm is not None:
        turned = turned * _inverse_rms(turned, eps)
        turned[:, :, :queries].mul_(attention.query_norm.weight)
        turned[:, :, queries:].mul_(attention.key_norm.weight)
    # The halves of a head change places, and `sin` has the sign of the first.
    turned = torch.addcmul(turned * cos, turned.roll(attention.head_dim // 2, -1), sin)
    return turned[:, :, :queries], turned[:, :, queries:], heads[:, :, queries + keys :]
