"""The block of GPT-2 (Radford et al. 2019): LayerNorm, attention without rotary positions, GELU, biases everywhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.model.causal_attention import causal_attention
from exnihilo.model.config import DecoderConfig
from exnihilo.model.segments import Regrouping


class GPT2Attention(nn.Module):
    """Multi-head attention; positions were added to the embedding."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.heads, config.head_dim
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.qkv.weight.blocks = 3  # type: ignore[attr-defined]
        self.out = nn.Linear(config.width, config.width)

    def heads_of(self, x: Tensor) -> Tensor:
        """Queries, keys and values `[3 heads, B, T, D]` of `x` `[B, T, width]`; the queries are divided by √D."""
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, 3 * self.heads, self.head_dim).permute(2, 0, 1, 3)
        heads = heads.to(self.qkv.weight.dtype)
        queries, others = heads[: self.heads], heads[self.heads :]
        return torch.cat((queries * self.head_dim**-0.5, others))


class GELUFeedForward(nn.Module):
    """Two matrices with GELU between them, in the approximation by tanh (arXiv 1606.08415)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return out


class GPT2Block(nn.Module):
    """Pre-norm block: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.attention = GPT2Attention(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.feed_forward = GELUFeedForward(config)

    def before_attention(self, x: Tensor) -> Tensor:
        """All heads `[3 heads, B, T, D]` of the residual stream `[B, T, width]`."""
        return self.attention.heads_of(self.attention_norm(x))

    def after_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The residual stream after the block, from that before it and what attention found."""
        x = x + self.attention.out(mixed)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, segments: Regrouping | None) -> Tensor:
        """The block's pass; `cos` and `sin` are those of rotary positions, which it has not."""
        heads = self.before_attention(x)
        return self.after_attention(x, causal_attention(heads, self.attention.heads, segments).flatten(2))
