"""PPO (arXiv 1707.06347) for language models: clipped policy and value losses, and pretraining gradients beside
them."""

from __future__ import annotations

import torch

from exnihilo.model.actor_critic import ActorCritic
from exnihilo.objectives.linear_cross_entropy import linear_cross_entropy
from exnihilo.objectives.linear_logprobs import linear_logprobs_entropy
from exnihilo.objectives.loss import Loss
from exnihilo.objectives.policy import ADVANTAGES, OLD
from exnihilo.tokens.batch import Batch

VALUES, RETURNS, PTX = "values", "returns", "ptx"
"""Extra fields `[rows, length]`: the critic's value before each target when it was sampled; what came of it; and what a
token of other text counts for."""


class ClippedPolicyAndValue:
    """`-min(ρA, clip(ρ, 1-ε, 1+ε)A) + c/2 · max((V-R)², (clip(V, V_old ± ε_v) - R)²)`, summed over response tokens.

    ρ is the ratio to the probability at sampling time. Where a batch carries `ptx`, each of those tokens adds `ptx`
    times its cross-entropy (arXiv 2203.02155), and does not count in the weight.

    Args:
        clip: ε.
        value_clip: ε_v; None does not clip.
        value_weight: c.
    """

    def __init__(self, clip: float = 0.2, value_clip: float | None = 0.2, value_weight: float = 0.1) -> None:
        self.clip, self.value_clip, self.value_weight = clip, value_clip, value_weight

    def __call__(self, model: ActorCritic, batch: Batch) -> Loss:
        hidden = model.policy.hidden(batch.tokens, batch.positions, batch.segments)
        kept = batch.weights != 0
        logprobs, entropy = linear_logprobs_entropy(
            hidden[kept], model.policy.head_weight, batch.targets[kept]
        )
        weights = batch.weights[kept]
        advantages, old, before, returns = (
            batch.extra[name][kept] for name in (ADVANTAGES, OLD, VALUES, RETURNS)
        )
        ratio = (logprobs - old).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        surrogate = torch.minimum(ratio * advantages, clipped * advantages)
        values = model.critic(batch.tokens, batch.positions, batch.segments)[..., 0][kept]
        error = (values - returns).square()
        if self.value_clip is not None:
            near = before + (values - before).clamp(-self.value_clip, self.value_clip)
            error = torch.maximum(error, (near - returns).square())
        total = ((self.value_weight * error / 2 - surrogate) * weights).sum()
        with torch.no_grad():
            metrics = {
                "entropy": (entropy * weights).sum(),
                "ratio": (ratio * weights).sum(),
                "clipped": ((ratio != clipped).float() * weights).sum(),
                "value_loss": (error / 2 * weights).sum(),
                "approximate_kl": ((ratio - 1 - (logprobs - old)) * weights).sum(),
            }
        if PTX in batch.extra:
            text = batch.extra[PTX].flatten()
            nats, _ = linear_cross_entropy(
                hidden.flatten(0, 1), model.policy.head_weight, batch.targets.flatten(), text
            )
            total = total + nats
            metrics["ptx"] = nats.detach()
        return Loss(total, weights.sum(dtype=torch.float64), metrics)
