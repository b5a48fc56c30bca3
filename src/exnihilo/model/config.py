"""The shape of a decoder in the Qwen3 layout, and how many parameters it has."""

from __future__ import annotations

from pydantic import Field, model_validator

from exnihilo.core.config import Config


def head_misfit(heads: int, kv_heads: int, head_dim: int) -> str | None:
    """Why attention cannot be split into these heads, or None."""
    if heads % kv_heads:
        divisors = [n for n in range(1, heads + 1) if heads % n == 0]
        return f"heads ({heads}) must be a multiple of kv_heads ({kv_heads}); try {divisors}"
    if head_dim % 2:
        return f"head_dim ({head_dim}) must be even, for rotary positions; try {head_dim + 1}"
    return None


class DecoderConfig(Config):
    """Shape of a decoder-only transformer in the Qwen3 layout (arXiv 2505.09388)."""

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

    @model_validator(mode="after")
    def _fits(self) -> DecoderConfig:
        misfit = head_misfit(self.heads, self.kv_heads, self.head_dim)
        if misfit is not None:
            raise ValueError(misfit)
        return self

    @property
    def attention_width(self) -> int:
        """Size of all query heads together."""
        return self.heads * self.head_dim

    @property
    def block_parameters(self) -> int:
        """Parameters of one block that multiply (its four norms are left out)."""
        key_value = self.kv_heads * self.head_dim
        attention = self.width * (2 * self.attention_width + 2 * key_value)
        return attention + 3 * self.width * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, a tied head counted once."""
        norms = self.depth * (2 * self.width + 2 * self.head_dim) + self.width
        embeddings = self.vocab_size * self.width * (1 if self.tied else 2)
        return self.depth * self.block_parameters + norms + embeddings

    @property
    def multiplying_parameters(self) -> int:
        """Parameters that every token is multiplied with: the output head is in, the look-up is out."""
        return self.depth * self.block_parameters + self.vocab_size * self.width
