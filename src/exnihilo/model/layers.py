"""The layers that every model here is made of: RMSNorm, rotary positions, attention, SwiGLU, and the block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exnihilo.model.causal_attention import causal_attention
from exnihilo.model.config import DecoderConfig
from exnihilo.model.fused import normalised_and_turned, rms_norm, swiglu
from exnihilo.model.segments import Regrouping


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned scale (arXiv 1910.07467)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


def rotary_table(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[length, head_dim / 2]` of rotary positions (arXiv 2104.09864)."""
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


class Attention(nn.Module):
    """Grouped-query attention (arXiv 2305.13245) with RMSNorm on each query and key head (arXiv 2302.05442).

    Query, key and value projections are one matrix in memory (one call instead of three) and three on disk.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        rows = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.width, rows, bias=False)
        # Muon orthogonalises each projection by itself (query heads in groups as large as the key's);
        # as one matrix, the quickstart's bits per byte were 1.639 instead of 1.615 (one seed).
        self.qkv.weight.blocks = config.heads // config.kv_heads + 2  # type: ignore[attr-defined]
        self.out = nn.Linear(config.attention_width, config.width, bias=False)
        self.query_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.key_norm = RMSNorm(config.head_dim, config.norm_eps)

    def heads_of(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Queries, keys and values `[all heads, B, T, D]` of `x` `[B, T, width]`, normalised and turned; the queries
        are divided by √D, as scores are in attention."""
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim)
        scales = (
            (self.query_norm.weight * self.head_dim**-0.5).expand(self.heads, -1),
            self.key_norm.weight.expand(self.kv_heads, -1),
        )
        return normalised_and_turned(heads, torch.cat(scales), cos, sin, self.query_norm.eps)

    def mixed(self, heads: Tensor, segments: Regrouping | None) -> Tensor:
        """What each token attends to, `[B, T, attention width]`: causally, and inside its segment."""
        return causal_attention(heads, self.heads, segments).flatten(2)


class SwiGLU(nn.Module):
    """Gated feed-forward network (arXiv 2002.05202); gate and up projections are one matrix in memory."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.gate_up.weight.blocks = 2  # type: ignore[attr-defined]
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(swiglu(self.gate_up(x)))
        return out


class Block(nn.Module):
    """Pre-norm transformer block: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = SwiGLU(config)

    def before_attention(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """All heads `[B, T, heads, D]` of the residual stream `[B, T, width]`."""
        return self.attention.heads_of(self.attention_norm(x), cos, sin)

    def after_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The residual stream after the block, from that before it and what attention found."""
        x = x + self.attention.out(mixed)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, segments: Regrouping | None) -> Tensor:
        heads = self.before_attention(x, cos, sin)
        return self.after_attention(x, self.attention.mixed(heads, segments))
