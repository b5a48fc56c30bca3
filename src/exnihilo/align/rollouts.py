"""The source of reinforcement learning: it samples responses, has them judged, and packs them into rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from exnihilo.align.advantages import group_advantages
from exnihilo.align.answer_rows import pack
from exnihilo.align.responses import Response, Sampler, told
from exnihilo.align.rewards import RewardSource
from exnihilo.core.errors import Refused
from exnihilo.model.adapters import adapters_off
from exnihilo.model.decoder import Decoder
from exnihilo.model.precision import multiplying_in
from exnihilo.objectives.policy import ADVANTAGES, ANCHOR, OLD, REFERENCE, SAMPLED, response_logprobs
from exnihilo.tokens.batch import Batch, Source
from exnihilo.tokens.state import Scalars, check_state

Record = Callable[[int, list[Response], list[float | None], dict[str, float]], None]
ROWS = 16
MOST_GAP = 0.5
"""Nats a token, on average, from which on two programs can't be computing the same model."""


@dataclass(frozen=True)
class Rollout:
    """What a step learns from, the responses that it was made of with their rewards, and what is told of them."""

    batch: Batch
    responses: list[Response]
    rewards: list[float | None]
    figures: dict[str, float]


class Rollouts:
    """A `Source` of on-policy batches: `next` samples from the model it is given.

    Step s takes the next `prompts` items of a seeded order and samples `group` responses to each, with seeds that
    follow from the run's seed, the step and the place in the batch; after a kill the same rollout is made again.
    Groups whose rewards are all equal carry no gradient and are left out of the batch, counted as `flat`. `anchor`
    is a source of rows of the same length, put below each batch, on which the policy is held to the reference.
    `reward_figures` tells of the rewards that were given last. Log-probabilities are computed in `dtype`, as training
    does. Where a server samples, which goes on serving the reference, answers are as stale as the step says.
    """

    def __init__(
        self,
        sampler: Sampler,
        reference: Decoder,
        reward: RewardSource,
        *,
        length: int,
        scale: bool = True,
        anchor: Source | None = None,
        anchor_weight: float = 0.0,
        record: Record = lambda step, responses, rewards, figures: None,
        reward_figures: Callable[[], dict[str, float]] = dict,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.sampler, self.reference, self.reward = sampler, reference, reward
        self.length, self.scale, self.record = length, scale, record
        self.anchor, self.anchor_weight = anchor, anchor_weight
        self.reward_figures, self.dtype = reward_figures, dtype

    def next(self, step: int, model: Decoder) -> Batch:
        """Sample, verify and pack the batch of `step`: `[rows, length]`, as many rows as the responses fill."""
        return self.deliver(step, self.make(step, model, self.reference), model)

    def make(self, step: int, model: Decoder, reference: Decoder) -> Rollout:
        """The rollout of `step`, sampled from `model`; nothing of it is recorded yet."""
        responses = self.sampler.sample(step, model)
        given = self.reward(responses)
        rewards = torch.tensor([float("nan") if reward is None else reward for reward in given])
        group = self.sampler.group
        advantages = group_advantages(rewards.view(-1, group), scale=self.scale)
        live = (advantages != 0).any(dim=1).repeat_interleave(group) & ~rewards.isnan()
        chosen = live.nonzero()[:, 0].tolist()
        batch, places = pack(
            [responses[i] for i in chosen], self.length, self.sampler.tokenizer.pad, sharing=True
        )
        by_token = torch.zeros_like(batch.weights)
        for (row, answer), advantage in zip(places, advantages.flatten()[live].tolist(), strict=True):
            by_token[row, answer] = advantage
        with adapters_off(reference):
            start = self.logprobs(reference, batch)
        batch = replace(batch, extra=batch.extra | {ADVANTAGES: by_token, REFERENCE: start})
        figures = self._figures(responses, rewards, live) | self.reward_figures()
        figures |= _divergence(batch, int(live.sum()))
        if self.sampler.server is not None:  # whose weights stay those of the reference
            batch = replace(batch, extra=batch.extra | {OLD: start})
            figures["staleness"] = float(step)
            self._check_served(batch)
        return Rollout(batch, responses, given, figures)

    def deliver(self, step: int, rollout: Rollout, model: Decoder) -> Batch:
        """Record a rollout; its batch, with the anchor's rows of `step` below it."""
        self.record(step + 1, rollout.responses, rollout.rewards, rollout.figures)
        batch = rollout.batch
        return batch if self.anchor is None else self._anchored(batch, self.anchor.next(step, model))

    @torch.no_grad()
    def logprobs(self, model: Decoder, batch: Batch) -> Tensor:
        """The log-probability of each response token by a model, as training computes it: `[rows, length]`, 0
        elsewhere."""
        found, device = torch.zeros_like(batch.weights), model.embedding.weight.device
        if not bool(batch.weights.any()):
            return found
        for start in range(0, len(batch), ROWS):
            part = batch.rows(start, start + ROWS)
            with multiplying_in(self.dtype, device):
                own = response_logprobs(model, part.to(device))
            found[start : start + ROWS][part.weights != 0] = own.float().cpu()
        return found

    def _check_served(self, batch: Batch) -> None:
        """Refuse answers of another model than the one that training starts from."""
        kept = batch.weights != 0
        gap = float((batch.extra[OLD] - batch.extra[SAMPLED])[kept].abs().mean()) if bool(kept.any()) else 0.0
        if gap > MOST_GAP:
            raise Refused(
                f"server: its log-probabilities are {gap:.2f} nats a token from those of the model that training "
                f"starts from, and more than {MOST_GAP} are no rounding; serve that model"
            )

    def _anchored(self, batch: Batch, kept: Batch) -> Batch:
        """The batch with rows below it on which the policy is held where it started."""
        zeros = torch.zeros_like(kept.weights)
        nothing = {name: zeros.to(found.dtype) for name, found in batch.extra.items()}
        held = replace(kept, weights=zeros, extra=nothing | {ANCHOR: self.anchor_weight * kept.weights})
        free = replace(batch, extra=batch.extra | {ANCHOR: torch.zeros_like(batch.weights)})
        return Batch.cat([free, held])

    def state(self) -> dict[str, int | float | str]:
        """The scalars that, with a step and the weights, fix a rollout."""
        return {"source": "rollouts", **self.sampler.state()}

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other prompts, seed or shape. Raises Refused as `check_state`."""
        check_state(state, self.state())

    def _figures(self, responses: Sequence[Response], rewards: Tensor, live: Tensor) -> dict[str, float]:
        return {
            "reward": float(rewards.nanmean()) if not bool(rewards.isnan().all()) else 0.0,
            **told(responses),
            "flat": 1.0 - float(live.float().mean()),
            "unscorable": float(rewards.isnan().float().mean()),
        }


def _divergence(batch: Batch, responses: int) -> dict[str, float]:
    """KL of the policy from the reference, in nats a sequence, over the responses of a batch (k1 at the sampled
    tokens)."""
    if not responses:
        return {}
    gap = (batch.extra[SAMPLED] - batch.extra[REFERENCE])[batch.weights != 0]
    return {"kl_per_sequence": float(gap.sum()) / responses}
