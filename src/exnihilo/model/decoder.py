"""A decoder-only transformer: in the Qwen3 layout by default, or in that of another family that was imported."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.core.errors import ExnihiloError
from exnihilo.model.cache import Cache
from exnihilo.model.cached import cached_hidden
from exnihilo.model.config import DecoderConfig
from exnihilo.model.gpt2 import GPT2Block
from exnihilo.model.layers import Block, RMSNorm, rotary_table
from exnihilo.model.segments import regroup

SPREAD = 0.02
"""Standard deviation of fresh weights, as GPT-2 had it (Radford et al. 2019)."""


class Decoder(nn.Module):
    """Causal language model over packed rows.

    Positions restart at 0 in each segment and attention stays inside a segment. Reference semantics are those of
    the CPU in float32 with scaled-dot-product attention.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        learned = config.layout == "gpt2"
        self.position_embedding = nn.Embedding(config.max_length, config.width) if learned else None
        self.blocks = nn.ModuleList((GPT2Block if learned else Block)(config) for _ in range(config.depth))
        self.norm = (nn.LayerNorm if learned else RMSNorm)(config.width, config.norm_eps)
        self.output = None if config.tied else nn.Linear(config.width, config.vocab_size, bias=False)
        cos, sin = _turns(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.initialise()

    @classmethod
    def empty(cls, config: DecoderConfig) -> Decoder:
        """A model on the CPU whose weights are yet to be loaded: whatever the memory held.

        It draws no random numbers. They are the whole process's: weights drawn for a server's thread to overwrite
        would change those drawn at that moment by another thread.
        """
        with torch.device("meta"):
            model = cls(config)
        marks = [vars(parameter) for parameter in model.parameters()]
        model = model.to_empty(device="cpu")
        for parameter, mark in zip(model.parameters(), marks, strict=True):
            vars(parameter).update(mark)  # `to_empty` forgets what Muon reads off a fused matrix
        model.cos, model.sin = _turns(config)
        return model

    @torch.no_grad()
    def initialise(self) -> None:
        """Normal weights of standard deviation 0.02; what writes to the residual stream starts at zero.

        Zero output projections make every block the identity at step 0, which lets Muon's large steps start
        without a long warm-up. Small weights before them are soon what has been learned and not what was drawn: with
        1/√fan-in (0.07 at width 192) a model was 0.06 bits per byte behind after 250 steps, and 0.07 after 1,000. The
        embedding has standard deviation 1 where it is not also the output head (whose logits are to be near 0 at step
        0).
        """
        nn.init.normal_(self.embedding.weight, std=SPREAD if self.config.tied else 1.0)
        if self.position_embedding is not None:
            nn.init.normal_(self.position_embedding.weight, std=SPREAD)
        for block in self.blocks:
            assert isinstance(block, Block | GPT2Block)
            first = block.feed_forward.gate_up if isinstance(block, Block) else block.feed_forward.up
            for linear in (block.attention.qkv, first):
                nn.init.normal_(linear.weight, std=SPREAD)
            for linear in (block.attention.out, block.feed_forward.down):
                nn.init.zeros_(linear.weight)
            for linear in (block.attention.qkv, block.attention.out, first, block.feed_forward.down):
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)
        if self.output is not None:
            nn.init.zeros_(self.output.weight)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        cache: Cache | None = None,
        *,
        prefixes: Tensor | None = None,
    ) -> Tensor:
        """Final hidden states `[B, T, width]` of ids `[B, T]`.

        `positions` and `segments` `[B, T]` describe packed rows; without them a row is one segment. `prefixes`
        `[B, T]` tells which segments continue which (`tokens.batch.PREFIX`). With a
        `cache`, the tokens follow what it holds, and nothing is kept for a gradient.
        """
        if cache is not None:
            if segments is not None:
                raise ExnihiloError(
                    "a cache holds one segment a row; packed segments can't be appended to it"
                )
            return cached_hidden(self, tokens, cache)
        length = tokens.shape[1]
        if length > self.config.max_length:
            # A row may be longer than the context, as long as no segment in it is.
            length = length if positions is None else int(positions.max()) + 1
            if length > self.config.max_length:
                raise ExnihiloError(
                    f"{length} tokens are more than the model's context of {self.config.max_length}"
                )
        regrouping = None if segments is None else regroup(segments, prefixes)
        if positions is None:
            cos, sin = self.cos[:length, None], self.sin[:length, None]
        else:
            cos, sin = (F.embedding(positions, table)[:, :, None] for table in (self.cos, self.sin))
        x = self.embedded(tokens, positions)
        for block in self.blocks:
            x = block(x, cos, sin, regrouping)
        out: Tensor = self.norm(x)
        return out

    def embedded(self, tokens: Tensor, positions: Tensor | None) -> Tensor:
        """What the first block reads, `[B, T, width]` of ids `[B, T]`: their embedding and, where positions are
        learned, that of their positions `[B, T]` (or `[T]` from 0 on)."""
        x: Tensor = self.embedding(tokens)
        if self.position_embedding is None:
            return x
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        both: Tensor = x + self.position_embedding(positions)
        return both

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[…, vocab_size]` of hidden states `[…, width]`."""
        return F.linear(hidden, self.head_weight)

    @property
    def head_weight(self) -> Tensor:
        """The output head's matrix `[vocab_size, width]`."""
        return self.embedding.weight if self.output is None else self.output.weight

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Logits `[B, T, vocab_size]` of the token after each of `tokens` `[B, T]`."""
        return self.head(self.hidden(tokens, positions, segments, cache))


def _turns(config: DecoderConfig) -> tuple[Tensor, Tensor]:
    return rotary_table(config.max_length, config.head_dim, config.rope_theta, config.rope_scaling)
