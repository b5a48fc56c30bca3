"""The objective of preference optimisation without a reward model: DPO (arXiv 2305.18290) and its kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model.decoder import Decoder
from exnihilo.objectives import preference
from exnihilo.objectives.linear_logprobs import linear_logprobs
from exnihilo.objectives.loss import Loss
from exnihilo.objectives.segments import segment_sums
from exnihilo.objectives.variants import WITHOUT_REFERENCE, Variant
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import BETTER, CERTAINTY, PAIR_WEIGHT, WORSE

REFERENCE_ANSWERS = "reference_answers"
"""Extra field `[rows, segments]`: the reference's log-probability of each answer, summed over its tokens, in nats."""


class DirectPreference:
    """One of the losses of `objectives.preference` for each pair, its weight being that of the pair.

    Log-probabilities are sums over an answer with its end token, but for `ipo-mean`, `simpo` and `orpo`, which take
    means a token. A pair's certainty c makes `sigmoid` the cross-entropy with c (cDPO); the others know no ties, and
    `flipped`, the share of labels that are wrong, serves `sigmoid` and `robust`.

    Args:
        variant: which loss.
        beta: its temperature; of sums and of means not comparable.
        flipped: for `sigmoid` and `robust`.
        margin: for `simpo`, γ.
        nll: weight of the better answer's mean cross-entropy a token beside it (arXiv 2404.19733); `orpo` has it at 1.
    """

    def __init__(
        self,
        variant: Variant = "sigmoid",
        *,
        beta: float = 0.1,
        flipped: float = 0.0,
        margin: float = 0.0,
        nll: float = 0.0,
    ) -> None:
        if variant not in get_args(Variant):
            raise ValueError(f"variant {variant!r}: one of {', '.join(get_args(Variant))}")
        self.variant, self.beta, self.flipped, self.margin, self.nll = variant, beta, flipped, margin, nll

    def __call__(self, model: Decoder, batch: Batch) -> Loss:
        logprobs, counts = answer_logprobs(model, batch)
        better, worse = batch.extra[BETTER], batch.extra[WORSE]
        weights, certainty = batch.extra[PAIR_WEIGHT], batch.extra[CERTAINTY]
        chosen, rejected = logprobs.gather(1, better), logprobs.gather(1, worse)
        sizes = [counts.gather(1, which).clamp(min=1) for which in (better, worse)]
        means = chosen / sizes[0], rejected / sizes[1]
        if self.variant in WITHOUT_REFERENCE:
            ratios = means
        else:
            reference = batch.extra[REFERENCE_ANSWERS]
            ratios = chosen - reference.gather(1, better), rejected - reference.gather(1, worse)
        loss = self._loss(ratios, sizes, certainty)
        nll = self.nll + (self.variant == "orpo")
        if nll:
            loss = loss - nll * means[0]
        loss = torch.where(
            weights > 0, loss, 0.0
        )  # where there is no pair its log-probabilities are anything
        with torch.no_grad():
            right = (ratios[0] > ratios[1]).float() + 0.5 * (ratios[0] == ratios[1]).float()
            figures = {
                "accuracy": right,
                "reward_gap": self.beta * (ratios[0] - ratios[1]),
                "chosen_logprob": chosen,
                "rejected_logprob": rejected,
            }
            metrics = {
                name: (torch.where(weights > 0, x, 0.0) * weights).sum() for name, x in figures.items()
            }
        return Loss((loss * weights).sum(), weights.sum(dtype=torch.float64), metrics)

    def _loss(self, ratios: tuple[Tensor, Tensor], sizes: list[Tensor], certainty: Tensor) -> Tensor:
        chosen, rejected = ratios
        if self.variant == "sigmoid":
            wrong = self.flipped + (1 - 2 * self.flipped) * (1 - certainty)
            margin = self.beta * (chosen - rejected)
            return -(1 - wrong) * F.logsigmoid(margin) - wrong * F.logsigmoid(-margin)
        if self.variant == "ipo-mean":
            return preference.ipo(chosen / sizes[0], rejected / sizes[1], self.beta)
        if self.variant == "robust":
            return preference.robust(chosen, rejected, self.beta, self.flipped)
        if self.variant == "simpo":
            return preference.simpo(chosen, rejected, self.beta, self.margin)
        if self.variant == "orpo":
            return self.beta * preference.orpo(chosen, rejected)[0]
        return _PLAIN[self.variant](chosen, rejected, self.beta)


_PLAIN: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "hinge": preference.hinge,
    "ipo": preference.ipo,
    "nca": preference.nca,
    "sppo": preference.sppo,
    "apo-zero": preference.apo_zero,
    "apo-down": preference.apo_down,
}


def answer_logprobs(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """The log-probability in nats of each segment's weighted targets, summed, and how many they are, `[rows, S]`."""
    hidden = model.hidden(batch.tokens, batch.positions, batch.segments)
    kept = batch.weights != 0
    found = linear_logprobs(hidden[kept], model.head_weight, batch.targets[kept])
    by_position = found.new_zeros(batch.tokens.shape).masked_scatter(kept, found)
    return segment_sums(by_position, batch.segments), segment_sums(kept.to(found.dtype), batch.segments)
