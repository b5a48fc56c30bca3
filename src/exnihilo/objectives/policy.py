"""The clipped policy-gradient objective with a KL penalty: what GRPO (arXiv 2402.03300) minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model.adapters import adapters_off
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.importance import importance_weights, mismatch
from exnihilo.objectives.linear_logprobs import linear_logprobs, linear_logprobs_entropy
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import PREFIX, Batch

ADVANTAGES = "advantages"
SAMPLED = "sampled_logprobs"
OLD = "old_logprobs"
"""What the trainer says of each target with the weights that it was sampled with."""
REFERENCE = "reference_logprobs"
ANCHOR = "anchor"


class PolicyGradient:
    """`-min(ρA, clip(ρ, 1-ε, 1+ε')A) + β·k3`, summed over response tokens.

    ρ is the ratio to the probability before the step, A the advantage of the response, both per token. The
    KL to the reference is estimated by k3 = e^d - d - 1 with d = log ref - log π (never negative; as a loss
    its gradient is that of KL(ref‖π)). The weight is the number of response tokens, the end-of-turn token
    among them: every token of the step counts the same, however long its response or however the batch is
    split (DAPO's denominator, arXiv 2503.14476).

    The sampler is another program than the trainer, perhaps of another precision, and gives other probabilities. With
    an `importance_cap` both terms of a token are weighted by how much likelier it is to the trainer than to the
    sampler, at most the cap (`objectives/importance.py`), and ρ compares the trainer with itself: with `old_logprobs`,
    where the batch carries them since the weights were older, and else with the step's own, which makes it 1. Without
    a cap ρ is the ratio to the sampler's probability.

    The batch carries `advantages`, `sampled_logprobs` and `reference_logprobs` in `extra`, `[rows, length]`. Where it
    also carries `anchor`, each of those tokens adds `anchor · KL(reference‖π)` over the whole vocabulary: text on which
    the policy is to stay as it is, whatever it learns elsewhere. They do not count in the weight.
    """

    def __init__(
        self,
        beta: float,
        clip_low: float = 0.2,
        clip_high: float = 0.28,
        reference: Decoder | None = None,
        importance_cap: float | None = None,
    ) -> None:
        self.beta, self.clip_low, self.clip_high, self.reference = beta, clip_low, clip_high, reference
        self.importance_cap = importance_cap

    def __call__(self, model: Decoder, batch: Batch) -> Loss:
        hidden = packed_hidden(model, batch)
        kept = batch.weights != 0
        logprobs, entropy = linear_logprobs_entropy(hidden[kept], model.head_weight, batch.targets[kept])
        weights = batch.weights[kept]
        advantages, sampled, reference = (
            batch.extra[name][kept] for name in (ADVANTAGES, SAMPLED, REFERENCE)
        )
        own = batch.extra[OLD][kept] if OLD in batch.extra else logprobs.detach()
        ratio = (logprobs - (sampled if self.importance_cap is None else own)).exp()
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        surrogate = torch.minimum(ratio * advantages, clipped * advantages)
        kl = k3(logprobs, reference)
        counted = weights
        if self.importance_cap is not None:
            counted = weights * importance_weights(own, sampled, self.importance_cap)
        total = ((self.beta * kl - surrogate) * counted).sum()
        with torch.no_grad():
            differs = mismatch(own, sampled, self.importance_cap)
            metrics = {
                "kl": (kl * weights).sum(),
                "entropy": (entropy * weights).sum(),
                "clipped": ((ratio != clipped).float() * weights).sum(),
                **{name: (values * weights).sum() for name, values in differs.items()},
            }
            gaps = differs["sampler_gap"]
            peaks = {"sampler_gap_max": gaps.max() if len(gaps) else gaps.sum()}
        if self.reference is not None and ANCHOR in batch.extra:
            drift = self._anchor(model, self.reference, hidden, batch)
            total = total + drift
            metrics["anchor"] = drift.detach()
        return Loss(total, weights.sum(dtype=torch.float64), metrics, peaks)

    def _anchor(self, model: Decoder, reference: Decoder, hidden: Tensor, batch: Batch) -> Tensor:
        rows = (batch.extra[ANCHOR] != 0).any(dim=1)
        if not bool(rows.any()):  # a micro-batch of responses alone
            return hidden.new_zeros(())
        weights = batch.extra[ANCHOR][rows]
        anchored = weights != 0
        with torch.no_grad(), adapters_off(reference):
            start = reference.hidden(batch.tokens[rows], batch.positions[rows], batch.segments[rows])
            expected = F.log_softmax(reference.head(start[anchored]), dim=-1)
        found = F.log_softmax(model.head(hidden[rows][anchored]), dim=-1)
        divergence = (expected.exp() * (expected - found)).sum(-1)
        return (divergence * weights[anchored]).sum()


def response_logprobs(model: Decoder, batch: Batch) -> Tensor:
    """Log-probability in nats `[n]` of the n targets whose weight is not 0."""
    hidden = packed_hidden(model, batch)
    kept = batch.weights != 0
    return linear_logprobs(hidden[kept], model.head_weight, batch.targets[kept])


def packed_hidden(model: Decoder, batch: Batch) -> Tensor:
    """Final hidden states `[rows, length, width]` of a batch, some segments of which may continue another."""
    prefixes = batch.extra.get(PREFIX)
    return model.hidden(batch.tokens, batch.positions, batch.segments, prefixes=prefixes)


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Schulman's estimator of KL(π‖ref) from samples of π: unbiased and never negative."""
    difference = reference - logprobs
    return difference.exp() - difference - 1
