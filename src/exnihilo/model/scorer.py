"""A decoder with scores instead of logits: a reward model, or a critic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exnihilo.model.decoder import Decoder


class Scorer(nn.Module):
    """Numbers for what has been read so far, one for each of `aspects`, at every position.

    The head has no bias and starts with a standard deviation of 1/√(width + 1) (arXiv 2009.01325), so that scores begin
    near 0 whatever the width. It is called `output`, as a decoder's is.
    """

    def __init__(self, decoder: Decoder, aspects: int = 1) -> None:
        super().__init__()
        self.decoder = decoder
        self.output = nn.Linear(decoder.config.width, aspects, bias=False)
        nn.init.normal_(self.output.weight, std=(decoder.config.width + 1) ** -0.5)

    def forward(
        self, tokens: Tensor, positions: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Scores `[B, T, aspects]` of what precedes and includes each of `tokens` `[B, T]`, in float32."""
        hidden = self.decoder.hidden(tokens, positions, segments)
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = self.output(hidden.to(self.output.weight.dtype))
        return scores

    def at(self, columns: Tensor, tokens: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        """Scores `[B, S, aspects]` at `columns` `[B, S]` alone."""
        hidden = self.decoder.hidden(tokens, positions, segments)
        chosen = hidden.take_along_dim(columns[:, :, None], dim=1)
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = self.output(chosen.to(self.output.weight.dtype))
        return scores
