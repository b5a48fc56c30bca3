"""The source of reinforcement learning: it samples responses, has them judged, and packs them into rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from exnihilo.align.advantages import group_advantages
from exnihilo.align.responses import Response, Sampler, pack
from exnihilo.align.rewards import RewardSource
from exnihilo.model.adapters import adapters_off
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.policy import ADVANTAGES, ANCHOR, REFERENCE, SAMPLED, response_logprobs
from exnihilo.tokens.batch import Batch, Source
from exnihilo.tokens.state import Scalars, check_state

Record = Callable[[int, list[Response], list[float | None], dict[str, float]], None]
ROWS = 16


class Rollouts:
    """A `Source` of on-policy batches: `next` samples from the model it is given.

    Step s takes the next `prompts` items of a seeded order and samples `group` responses to each, with seeds that
    follow from the run's seed, the step and the place in the batch; after a kill the same rollout is made again.
    Groups whose rewards are all equal carry no gradient and are left out of the batch, counted as `flat`. `anchor`
    is a source of rows of the same length, put below each batch, on which the policy is held to the reference.
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
    ) -> None:
        self.sampler, self.reference, self.reward = sampler, reference, reward
        self.length, self.scale, self.record = length, scale, record
        self.anchor, self.anchor_weight = anchor, anchor_weight

    def next(self, step: int, model: Decoder) -> Batch:
        """Sample, verify and pack the batch of `step`: `[rows, length]`, as many rows as the responses fill."""
        responses = self.sampler.sample(step, model)
        given = self.reward(responses)
        rewards = torch.tensor([float("nan") if reward is None else reward for reward in given])
        group = self.sampler.group
        advantages = group_advantages(rewards.view(-1, group), scale=self.scale)
        live = (advantages != 0).any(dim=1).repeat_interleave(group) & ~rewards.isnan()
        chosen = live.nonzero()[:, 0].tolist()
        batch = self._packed([responses[i] for i in chosen], advantages.flatten()[live])
        figures = self._figures(responses, rewards, live) | _divergence(batch, int(live.sum()))
        self.record(step + 1, responses, given, figures)
        return batch if self.anchor is None else self._anchored(batch, self.anchor.next(step, model))

    def _anchored(self, batch: Batch, kept: Batch) -> Batch:
        """The batch with rows below it on which the policy is held where it started."""
        zeros = torch.zeros_like(kept.weights)
        held = replace(
            kept,
            weights=zeros,
            extra={
                ADVANTAGES: zeros,
                SAMPLED: zeros,
                REFERENCE: zeros,
                ANCHOR: self.anchor_weight * kept.weights,
            },
        )
        free = replace(batch, extra=batch.extra | {ANCHOR: torch.zeros_like(batch.weights)})
        return Batch.cat([free, held])

    def state(self) -> dict[str, int | float | str]:
        """The scalars that, with a step and the weights, fix a rollout."""
        return {"source": "rollouts", **self.sampler.state()}

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other prompts, seed or shape. Raises Refused as `check_state`."""
        check_state(state, self.state())

    def _packed(self, responses: Sequence[Response], advantages: Tensor) -> Batch:
        batch, places = pack(responses, self.length, self.sampler.tokenizer.pad)
        by_token, reference = (torch.zeros_like(batch.weights) for _ in range(2))
        for (row, answer), advantage in zip(places, advantages.tolist(), strict=True):
            by_token[row, answer] = advantage
        if responses:
            with torch.no_grad(), adapters_off(self.reference):
                for start in range(0, len(batch), ROWS):
                    part = batch.rows(start, start + ROWS)
                    reference[start : start + ROWS][part.weights != 0] = response_logprobs(
                        self.reference, part
                    )[0]
        return replace(batch, extra=batch.extra | {ADVANTAGES: by_token, REFERENCE: reference})

    def _figures(self, responses: Sequence[Response], rewards: Tensor, live: Tensor) -> dict[str, float]:
        lengths = [len(r.generation.ids) for r in responses]
        return {
            "reward": float(rewards.nanmean()) if not bool(rewards.isnan().all()) else 0.0,
            "response_length": sum(lengths) / len(lengths),
            "ended": sum(r.ended for r in responses) / len(responses),
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
