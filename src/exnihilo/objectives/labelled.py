"""The objective of answers that were judged by themselves, not compared: KTO (arXiv 2402.01306)."""

from __future__ import annotations

import torch

from exnihilo.model.decoder import Decoder
from exnihilo.objectives import preference
from exnihilo.objectives.direct import REFERENCE_ANSWERS, answer_logprobs
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import DESIRABLE, UNDESIRABLE

DIVERGENCE, KINDS = "divergence", "kinds"
"""Extra fields of what a whole batch has in common, the same in each of its rows: `[rows]`, how far the policy is from
the reference on answers to other prompts, in nats; `[rows, 2]`, how many of its answers are desirable and are not."""


class LabelledAnswers:
    """KTO's loss of each answer, summed over desirable and undesirable ones.

    The divergence comes with the batch: were it estimated here, from the part of it that is at hand, the loss would
    depend on how many rows are read at once.

    Args:
        beta: temperature, of log-probabilities summed over an answer.
        desirable: what a desirable answer counts for beside an undesirable one: λ_D / λ_U. The weight that the loss is
            divided by is the number of answers, whatever they count for.
    """

    def __init__(self, *, beta: float = 0.1, desirable: float = 1.0) -> None:
        self.beta, self.desirable = beta, desirable

    def __call__(self, model: Decoder, batch: Batch) -> Loss:
        logprobs, _ = answer_logprobs(model, batch)
        # A part of a batch may have fewer segments in its rows than the whole.
        segments = logprobs.shape[1]
        up, down, reference = (
            batch.extra[name][:, :segments] for name in (DESIRABLE, UNDESIRABLE, REFERENCE_ANSWERS)
        )
        ratios, divergence = logprobs - reference, batch.extra[DIVERGENCE][:, None]
        gain, loss = (
            preference.kto(ratios, torch.tensor(kind, device=ratios.device), divergence, self.beta)
            for kind in (True, False)
        )
        total = (self.desirable * gain * up + loss * down).sum()
        weight = (up + down).sum(dtype=torch.float64)
        with torch.no_grad():
            right = torch.sign(ratios - divergence.clamp(min=0)) / 2  # at the point of reference half right
            metrics = {
                "accuracy": ((0.5 + right) * up + (0.5 - right) * down).sum(),
                "divergence": (divergence * (up + down)).sum(),
            }
            # Divided by the number of all answers these are means over those of one kind.
            kinds = batch.extra[KINDS]
            up, down = (kind * (kinds.sum(1) / kinds[:, i])[:, None] for i, kind in enumerate((up, down)))
            metrics |= {
                "reward_gap": self.beta * (ratios * (up - down)).sum(),
                "chosen_logprob": (logprobs * up).sum(),
                "rejected_logprob": (logprobs * down).sum(),
            }
        return Loss(total, weight, metrics)
