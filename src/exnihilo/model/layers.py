"""The layers that most models here are made of: RMSNorm, rotary positions, attention, SwiGLU, and the block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from exnihilo.model.causal_attention import causal_attention
from exnihilo.model.config import DecoderConfig, RotaryScaling
from exnihilo.model.fused import normalised_and_turned, rms_norm, swiglu, turned
from exnihilo.model.segments import Regrouping


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned scale (arXiv 1910.07467)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


def rotary_table(
    length: int, head_dim: int, theta: float, scaling: RotaryScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[length, head_dim / 2]` of rotary positions (arXiv 2104.09864)."""
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    if scaling is not None:
        frequencies = stretched(frequencies, scaling)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


def stretched(frequencies: Tensor, scaling: RotaryScaling) -> Tensor:
    """Rotary frequencies for a longer context (Llama 3.1, arXiv 2407.21783): how much of each stays as it was goes from
    0 where a wave is as long as `old_length / low_freq_factor` to 1 at `old_length / high_freq_factor`."""
    waves = scaling.old_length * frequencies / (2 * math.pi)  # in the old context
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((waves - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


class Attention(nn.Module):
    """Grouped-query attention (arXiv 2305.13245) with rotary positions; in the Qwen3 layout with RMSNorm on each query
    and key head (arXiv 2302.05442).

    Query, key and value projections are one matrix in memory (one call instead of three) and three on disk.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        rows = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.width, rows, bias=config.qkv_bias)
        # Muon orthogonalises each projection by itself (query heads in groups as large as the key's);
        # as one matrix, the quickstart's bits per byte were 1.639 instead of 1.615 (one seed).
        self.qkv.weight.blocks = config.heads // config.kv_heads + 2  # type: ignore[attr-defined]
        self.out = nn.Linear(config.attention_width, config.width, bias=False)
        normalises = config.normalises_heads
        self.query_norm = RMSNorm(config.head_dim, config.norm_eps) if normalises else None
        self.key_norm = RMSNorm(config.head_dim, config.norm_eps) if normalises else None

    def heads_of(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Queries, keys and values `[all heads, B, T, D]` of `x` `[B, T, width]`, normalised and turned; the queries
        are divided by √D, as scores are in attention."""
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim)
        if self.query_norm is None or self.key_norm is None:
            return turned(heads, self.heads, self.kv_heads, cos, sin)
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
