"""The loss of a reward model on comparisons: Bradley and Terry's, with margins, ties, soft labels and centring."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pairwise(
    better: Tensor, worse: Tensor, margin: Tensor | float = 0.0, certainty: Tensor | float = 1.0
) -> Tensor:
    """`-s log σ(b - w - m) - (1 - s) log σ(w - b + m)` of the scores of two answers, `[pairs]` (arXiv 2009.01325).

    `certainty` s is the share of judges who prefer `better`: 1 for a plain comparison, 0.5 for a tie. `margin` m is by
    how much its score should be higher (Llama 2, arXiv 2307.09288); none goes with a tie.
    """
    difference = better - worse - margin
    return -certainty * F.logsigmoid(difference) - (1 - certainty) * F.logsigmoid(-difference)


def centring(better: Tensor, worse: Tensor) -> Tensor:
    """`(b + w)²`: a comparison fixes differences alone, and this, weighted by about 0.01, that scores lie around 0
    (arXiv 2312.09244)."""
    return (better + worse).square()
