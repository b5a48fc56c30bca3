"""The source of reinforcement learning: it samples responses, has them verified, and packs them into rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor

from exnihilo.align.advantages import group_advantages
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import dumps
from exnihilo.core.seeds import derive
from exnihilo.infer.generate import Generation, generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.adapters import adapters_off, merged
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.policy import ADVANTAGES, ANCHOR, REFERENCE, SAMPLED, response_logprobs
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import PADDING_SEGMENT, Batch, Source
from exnihilo.tokens.order import Permutation
from exnihilo.tokens.arrangement import best_fit_decreasing
from exnihilo.tokens.state import Scalars, check_state

Reward = Callable[[dict[str, Any], str], float | None]


@dataclass(frozen=True)
class Response:
    """One sampled answer: ids in, ids out, never decoded and encoded again."""

    item: dict[str, Any]
    prompt: list[int]
    generation: Generation
    text: str
    reward: float | None  # None: nobody could say


class Rollouts:
    """A `Source` of on-policy batches: `next` samples from the model it is given.

    Step s takes the next `prompts` items of a seeded order and samples `group` responses to each, with seeds that
    follow from the run's seed, the step and the place in the batch; after a kill the same rollout is made again.
    Groups whose rewards are all equal carry no gradient and are left out of the batch, counted as `flat`. `anchor`
    is a source of rows of the same length, put below each batch, on which the policy is held to the reference.
    """

    def __init__(
        self,
        items: Sequence[dict[str, Any]],
        tokenizer: Tokenizer,
        reference: Decoder,
        reward: Reward,
        *,
        prompts: int,
        group: int,
        temperature: float,
        max_new: int,
        length: int,
        seed: int,
        scale: bool = True,
        anchor: Source | None = None,
        anchor_weight: float = 0.0,
        record: Callable[[int, list[Response], dict[str, float]], None] = lambda step, responses, figures: (
            None
        ),
    ) -> None:
        self.items, self.tokenizer, self.reference, self.reward = list(items), tokenizer, reference, reward
        self.prompts, self.group, self.length, self.seed, self.scale = prompts, group, length, seed, scale
        self.sampling = Sampling(temperature=temperature, max_new=max_new)
        self.rules = of_tokenizer(tokenizer)
        self.record = record
        self.anchor, self.anchor_weight = anchor, anchor_weight
        renderer = Renderer(tokenizer)
        self.ids = [renderer.prompt(item["messages"]) for item in self.items]
        longest = max((len(ids) for ids in self.ids), default=0)
        if not self.items:
            raise Refused("no prompts to sample answers to; give an examples artifact with prompts.jsonl")
        if longest + max_new > length + 1:
            raise Refused(
                f"a prompt of {longest} tokens and an answer of {max_new} do not fit rows of {length}; "
                "raise length, or lower max_new"
            )

    def next(self, step: int, model: Decoder) -> Batch:
        """Sample, verify and pack the batch of `step`: `[rows, length]`, as many rows as the responses fill."""
        responses = self.sample(step, model)
        rewards = torch.tensor([float("nan") if r.reward is None else r.reward for r in responses])
        advantages = group_advantages(rewards.view(-1, self.group), scale=self.scale)
        live = (advantages != 0).any(dim=1).repeat_interleave(self.group) & ~rewards.isnan()
        chosen = live.nonzero()[:, 0].tolist()
        batch = self._pack([responses[i] for i in chosen], advantages.flatten()[live])
        self.record(step + 1, responses, self._figures(responses, rewards, live))
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

    def sample(self, step: int, model: Decoder) -> list[Response]:
        """`prompts × group` responses, those to one prompt next to each other."""
        chosen = [self._item(step * self.prompts + i) for i in range(self.prompts)]
        rows = [i for i in chosen for _ in range(self.group)]
        seeds = [derive(self.seed, "rollout", step, i) for i in range(len(rows))]
        with merged(model):  # one product a layer instead of three, at every token
            generations = generate(
                model, [self.ids[i] for i in rows], self.sampling, seeds=seeds, **self.rules
            )
        responses = []
        for i, generation in zip(rows, generations, strict=True):
            text = self.tokenizer.decode(generation.ids)
            item = self.items[i]
            responses.append(Response(item, self.ids[i], generation, text, self.reward(item, text)))
        return responses

    def state(self) -> dict[str, int | float | str]:
        """The scalars that, with a step and the weights, fix a rollout."""
        return {
            "source": "rollouts",
            "fingerprint": blake3("\n".join(dumps(item) for item in self.items).encode()).hexdigest(),
            "seed": self.seed,
            "prompts": self.prompts,
            "group": self.group,
        }

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other prompts, seed or shape. Raises Refused as `check_state`."""
        check_state(state, self.state())

    def _item(self, turn: int) -> int:
        epoch, place = divmod(turn, len(self.items))
        return int(Permutation(len(self.items), derive(self.seed, "prompts", epoch))(np.array([place]))[0])

    def _pack(self, responses: Sequence[Response], advantages: Tensor) -> Batch:
        sizes = np.array([len(r.prompt) + len(r.generation.ids) - 1 for r in responses], dtype=np.int64)
        order = np.argsort(-sizes, kind="stable")
        row, offset = best_fit_decreasing(sizes[order], self.length)
        shape = (int(row.max()) + 1 if row.size else 1, self.length)
        tokens = torch.full(shape, self.tokenizer.pad)
        positions, targets = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        segments = torch.full(shape, PADDING_SEGMENT)
        weights, advantage, sampled = torch.zeros(shape), torch.zeros(shape), torch.zeros(shape)
        for place, index in enumerate(order.tolist()):
            response, r, o, n = responses[index], row[place], int(offset[place]), int(sizes[index])
            ids = torch.tensor(response.prompt + response.generation.ids)
            here, answer = slice(o, o + n), slice(o + len(response.prompt) - 1, o + n)
            tokens[r, here], targets[r, here] = ids[:-1], ids[1:]
            positions[r, here] = torch.arange(n)
            segments[r, here] = place
            weights[r, answer] = 1.0
            advantage[r, answer] = advantages[index]
            sampled[r, answer] = torch.tensor(response.generation.logprobs)
        extra = {ADVANTAGES: advantage, SAMPLED: sampled, REFERENCE: torch.zeros(shape)}
        batch = Batch(tokens, positions, segments, targets, weights, extra)
        if responses:
            with torch.no_grad(), adapters_off(self.reference):
                for start in range(0, shape[0], 16):
                    part = batch.rows(start, start + 16)
                    extra[REFERENCE][start : start + 16][part.weights != 0] = response_logprobs(
                        self.reference, part
                    )[0]
        return batch

    def _figures(self, responses: Sequence[Response], rewards: Tensor, live: Tensor) -> dict[str, float]:
        lengths = [len(r.generation.ids) for r in responses]
        return {
            "reward": float(rewards.nanmean()) if not bool(rewards.isnan().all()) else 0.0,
            "response_length": sum(lengths) / len(lengths),
            "ended": sum(r.generation.finish == "stop" for r in responses) / len(responses),
            "flat": 1.0 - float(live.float().mean()),
            "unscorable": float(rewards.isnan().float().mean()),
        }
