"""The passes through the model that an engine makes: texts are read, rows get one more token, states become logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from exnihilo.infer.attention import Decoding
from exnihilo.model.blocked import ROWS, Matrices
from exnihilo.model.cache import Cache
from exnihilo.model.cached import cached_hidden
from exnihilo.model.decode import DecodeStep

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder

# Steps with several rows, made or to come, from which on the matrices are laid out for them: that takes as long as it
# saves in 10 steps of 32 rows, or in 20 of 8.
STEPS_TO_LAY_OUT = 24


class Passes:
    """The passes through one model, whose weights stay as they are."""

    def __init__(self, model: Decoder) -> None:
        self.model = model
        self._matrices = Matrices(model)
        self._step: DecodeStep | None = None
        self._steps = 0  # with so many rows that laying out the matrices would have saved time

    def read(self, tokens: Tensor, cache: Cache, wanted: Tensor | None = None) -> Tensor:
        """Final hidden states `[B, T, width]` of ids `[B, T]`, or `[B, W, width]` of the tokens `wanted` `[W]`."""
        return cached_hidden(self.model, tokens, cache, self._matrices.linear, wanted)

    def step(self, tokens: Tensor, cache: Decoding, lasting: int) -> Tensor:
        """Final hidden states `[rows, width]` of one id for each row `[rows]`; the next step overwrites them.

        `lasting` is for how many steps there may be `ROWS.start` rows.
        """
        weight = self.model.embedding.weight
        if (
            weight.device.type != "cpu"
            or weight.dtype != self.model.cos.dtype
            or torch.is_autocast_enabled(weight.device.type)
            or self.model.config.layout == "gpt2"
        ):
            return self.read(tokens[:, None], cache)[:, 0]
        rows = len(tokens)
        if rows >= ROWS.start and not self._matrices.laid_out:
            self._steps += 1
            if self._steps + lasting >= STEPS_TO_LAY_OUT:
                self._matrices = Matrices(self.model, torch.get_num_threads())
                self._step = None
        if self._step is None or self._step.rows != rows:
            self._step = DecodeStep(self._matrices, rows)
        return self._step.hidden(tokens, cache)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[B, vocab_size]` of hidden states `[B, width]`."""
        return self._matrices.head(hidden)
