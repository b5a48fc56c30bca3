"""Answers sampled from a policy: ids in, ids out, and packed as they were sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from blake3 import blake3

from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import dumps
from exnihilo.core.seeds import derive
from exnihilo.infer.generate import Generation, generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.adapters import merged
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.policy import SAMPLED
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.arrangement import best_fit_decreasing
from exnihilo.tokens.batch import PADDING_SEGMENT, Batch
from exnihilo.tokens.order import Permutation


@dataclass(frozen=True)
class Response:
    """One sampled answer: ids in, ids out, never decoded and encoded again."""

    item: dict[str, Any]
    prompt: list[int]
    generation: Generation
    text: str

    @property
    def ids(self) -> list[int]:
        """Prompt and answer, as the policy read and wrote them."""
        return self.prompt + self.generation.ids

    @property
    def ended(self) -> bool:
        """Whether the policy ended its answer itself."""
        return self.generation.finish == "stop"


class Sampler:
    """Samples answers to items in a seeded order; what it samples follows from seed, step and weights alone.

    Raises Refused where there are no items, or one and an answer don't fit a row of `length` (None: answers are packed
    into no rows).
    """

    def __init__(
        self,
        items: Sequence[dict[str, Any]],
        tokenizer: Tokenizer,
        *,
        prompts: int,
        group: int,
        temperature: float,
        max_new: int,
        length: int | None,
        seed: int,
    ) -> None:
        self.items, self.tokenizer = list(items), tokenizer
        self.prompts, self.group, self.seed = prompts, group, seed
        self.sampling = Sampling(temperature=temperature, max_new=max_new)
        self.rules = of_tokenizer(tokenizer)
        renderer = Renderer(tokenizer)
        self.ids = [renderer.prompt(item["messages"]) for item in self.items]
        longest = max((len(ids) for ids in self.ids), default=0)
        if not self.items:
            raise Refused("no prompts to sample answers to; give an examples artifact with prompts.jsonl")
        if length is not None and longest + max_new > length + 1:
            raise Refused(
                f"a prompt of {longest} tokens and an answer of {max_new} do not fit rows of {length}; "
                "raise length, or lower max_new"
            )

    def sample(self, step: int, model: Decoder) -> list[Response]:
        """`prompts × group` answers, those to one prompt next to each other."""
        chosen = [self._item(step * self.prompts + i) for i in range(self.prompts)]
        return self.answers(
            chosen, [derive(self.seed, "rollout", step, i) for i in range(len(chosen) * self.group)], model
        )

    def answers(self, chosen: Sequence[int], seeds: Sequence[int], model: Decoder) -> list[Response]:
        """`group` answers to each of the items `chosen` by number, with a seed for each answer."""
        rows = [i for i in chosen for _ in range(self.group)]
        with merged(model):  # one product a layer instead of three, at every token
            generations = generate(
                model, [self.ids[i] for i in rows], self.sampling, seeds=list(seeds), **self.rules
            )
        return [
            Response(self.items[i], self.ids[i], generation, self.tokenizer.decode(generation.ids))
            for i, generation in zip(rows, generations, strict=True)
        ]

    def state(self) -> dict[str, int | float | str]:
        """The scalars that, with a step and the weights, fix what is sampled."""
        return {
            "fingerprint": blake3("\n".join(dumps(item) for item in self.items).encode()).hexdigest(),
            "seed": self.seed,
            "prompts": self.prompts,
            "group": self.group,
        }

    def _item(self, turn: int) -> int:
        epoch, place = divmod(turn, len(self.items))
        return int(Permutation(len(self.items), derive(self.seed, "prompts", epoch))(np.array([place]))[0])


Place = tuple[int, slice]
"""A row, and the positions in it whose targets are an answer's tokens."""


def pack(responses: Sequence[Response], length: int, pad: int) -> tuple[Batch, list[Place]]:
    """Responses in rows of `length`, each a segment, and where the answer of each is.

    Weights are 1 on the tokens of the answer, and the log-probabilities of sampling are in `extra`.
    """
    sizes = np.array([len(r.ids) - 1 for r in responses], dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    row, offset = best_fit_decreasing(sizes[order], length)
    shape = (int(row.max()) + 1 if row.size else 1, length)
    tokens = torch.full(shape, pad)
    positions, targets = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    segments, weights = torch.full(shape, PADDING_SEGMENT), torch.zeros(shape)
    sampled = torch.zeros(shape)
    places: list[Place] = [(0, slice(0, 0))] * len(responses)
    for place, index in enumerate(order.tolist()):
        response, r, o, n = responses[index], row[place], int(offset[place]), int(sizes[index])
        ids = torch.tensor(response.ids)
        here, answer = slice(o, o + n), slice(o + len(response.prompt) - 1, o + n)
        tokens[r, here], targets[r, here] = ids[:-1], ids[1:]
        positions[r, here] = torch.arange(n)
        segments[r, here] = place
        weights[r, answer] = 1.0
        sampled[r, answer] = torch.tensor(response.generation.logprobs)
        places[index] = (int(r), answer)
    return Batch(tokens, positions, segments, targets, weights, {SAMPLED: sampled}), places
