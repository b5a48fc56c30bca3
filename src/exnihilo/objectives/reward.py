"""The objective of a reward model: comparisons of answers, scored at their last tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from exnihilo.model.scorer import Scorer
from exnihilo.objectives.comparison import centring, pairwise
from exnihilo.objectives.loss import Loss
from exnihilo.objectives.segments import segment_ends
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import ASPECT, BETTER, CERTAINTY, MARGIN, PAIR_WEIGHT, WORSE


class RewardComparisons:
    """Bradley and Terry's loss of each pair, its weight being that of the pair: a prompt counts once, however many of
    its answers were compared (arXiv 2203.02155). `centre` weighs the square of a pair's sum of scores (0: not at all).

    Each answer is read once, whatever number of pairs it is in.
    """

    def __init__(self, centre: float = 0.0) -> None:
        self.centre = centre

    def __call__(self, model: Scorer, batch: Batch) -> Loss:
        better, worse = pair_scores(model, batch)
        weights = batch.extra[PAIR_WEIGHT]
        loss = pairwise(better, worse, batch.extra[MARGIN], batch.extra[CERTAINTY])
        if self.centre:
            loss = loss + self.centre * centring(better, worse)
        with torch.no_grad():
            right = (better > worse).float() + 0.5 * (better == worse).float()  # a tie is half right
            metrics = {
                "accuracy": (right * weights).sum(),
                "gap": ((better - worse) * weights).sum(),
                "score": ((better + worse) / 2 * weights).sum(),
            }
        return Loss((loss * weights).sum(), weights.sum(dtype=torch.float64), metrics)


def pair_scores(model: Scorer, batch: Batch) -> tuple[Tensor, Tensor]:
    """The scores of the better and of the worse answer of every pair, `[rows, pairs]` each, of the pair's aspect."""
    ends = segment_ends(batch.segments)
    scores = model.at(ends, batch.tokens, batch.positions, batch.segments)
    aspect = batch.extra[ASPECT][:, :, None]
    found = (
        scores.take_along_dim(batch.extra[which][:, :, None], dim=1).take_along_dim(aspect, dim=2)[:, :, 0]
        for which in (BETTER, WORSE)
    )
    better, worse = found
    return better, worse
