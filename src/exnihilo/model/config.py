"""The shape of a decoder, the family whose layout it has, and how many parameters that makes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from exnihilo.core.config import Config

Layout = Literal["qwen3", "qwen2", "llama", "mistral", "gpt2"]
"""Families of decoders. Qwen3 normalises each query and key head (arXiv 2505.09388); Qwen2 has biases on queries, keys
and values instead (2407.10671); Llama (2302.13971) and Mistral (2310.06825) have neither. GPT-2 (Radford et al. 2019)
has learned positions, LayerNorm, GELU and biases everywhere."""


class RotaryScaling(Config):
    """How Llama 3.1 stretches rotary positions (arXiv 2407.21783): slow frequencies are divided by `factor`, fast ones
    stay, and those between are mixed."""

    factor: float = Field(ge=1, description="what the frequencies of long waves are divided by")
    low_freq_factor: float = Field(gt=0, description="waves longer than old_length / this are divided whole")
    high_freq_factor: float = Field(gt=0, description="waves shorter than old_length / this stay")
    old_length: int = Field(ge=2, description="context in tokens before it was stretched")

    @model_validator(mode="after")
    def _ordered(self) -> RotaryScaling:
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError("high_freq_factor must be above low_freq_factor")
        return self


def head_misfit(heads: int, kv_heads: int, head_dim: int) -> str | None:
    """Why attention cannot be split into these heads, or None."""
    if heads % kv_heads:
        divisors = [n for n in range(1, heads + 1) if heads % n == 0]
        return f"heads ({heads}) must be a multiple of kv_heads ({kv_heads}); try {divisors}"
    if head_dim % 2:
        return f"head_dim ({head_dim}) must be even, for rotary positions; try {head_dim + 1}"
    return None


class DecoderConfig(Config):
    """Shape of a decoder-only transformer; what is trained here from nothing has the Qwen3 layout."""

    vocab_size: int = Field(ge=2, description="ids of the tokenizer, special tokens included")
    width: int = Field(ge=8, description="size of the residual stream")
    depth: int = Field(ge=1, description="number of blocks")
    heads: int = Field(ge=1, description="query heads")
    kv_heads: int = Field(
        ge=1, description="key and value heads; fewer than heads is grouped-query attention"
    )
    head_dim: int = Field(ge=2, description="size of one head; even, for rotary positions")
    hidden: int = Field(ge=8, description="inner size of the SwiGLU feed-forward network")
    tied: bool = Field(True, description="the output head is the embedding matrix")
    rope_theta: float = Field(10_000.0, gt=0, description="base of the rotary frequencies")
    norm_eps: float = Field(1e-6, gt=0, description="added to the mean square in RMSNorm")
    max_length: int = Field(1024, ge=2, description="longest sequence in tokens")
    layout: Layout = Field("qwen3", description="family whose layers and names of weights it has")
    rope_scaling: RotaryScaling | None = Field(
        None, description="how rotary positions were stretched (Llama 3.1)"
    )

    @model_validator(mode="after")
    def _fits(self) -> DecoderConfig:
        misfit = head_misfit(self.heads, self.kv_heads, self.head_dim)
        if misfit is not None:
            raise ValueError(misfit)
        if self.layout == "gpt2" and not (self.tied and self.width == self.heads * self.head_dim):
            raise ValueError("GPT-2's head is its embedding, and its heads together are as wide as the model")
        if self.layout == "gpt2" and self.heads != self.kv_heads:
            raise ValueError(f"GPT-2 has as many key heads ({self.kv_heads}) as query heads ({self.heads})")
        return self

    @property
    def normalises_heads(self) -> bool:
        """Whether each query and key head has an RMSNorm (arXiv 2302.05442)."""
        return self.layout == "qwen3"

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias."""
        return self.layout in ("qwen2", "gpt2")

    @property
    def attention_width(self) -> int:
        """Size of all query heads together."""
        return self.heads * self.head_dim

    @property
    def block_parameters(self) -> int:
        """Parameters of one block that multiply (norms and biases are left out)."""
        key_value = self.kv_heads * self.head_dim
        attention = self.width * (2 * self.attention_width + 2 * key_value)
        return attention + (2 if self.layout == "gpt2" else 3) * self.width * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, a tied head counted once."""
        if self.layout == "gpt2":
            # A scale and a bias to each norm; biases of queries, keys, values, and of the four products' results.
            each = 4 * self.width + 3 * self.width + self.width + self.hidden + self.width
            embeddings = (self.vocab_size + self.max_length) * self.width
            return self.depth * (self.block_parameters + each) + 2 * self.width + embeddings
        each = 2 * self.width
        if self.normalises_heads:
            each += 2 * self.head_dim
        if self.qkv_bias:
            each += (self.heads + 2 * self.kv_heads) * self.head_dim
        embeddings = self.vocab_size * self.width * (1 if self.tied else 2)
        return self.depth * (self.block_parameters + each) + self.width + embeddings

    @property
    def multiplying_parameters(self) -> int:
        """Parameters that every token is multiplied with: the output head is in, the look-up is out."""
        return self.depth * self.block_parameters + self.vocab_size * self.width
