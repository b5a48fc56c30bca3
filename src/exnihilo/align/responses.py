"""Answers sampled from a policy: ids in, ids out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from blake3 import blake3

from exnihilo.align.served import sampled_there
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import dumps
from exnihilo.core.seeds import derive
from exnihilo.infer.generate import Generation, generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.infer.tool_turns import ToolTurns
from exnihilo.infer.tools import Tool
from exnihilo.model.adapters import merged
from exnihilo.model.decoder import Decoder
from exnihilo.teachers.endpoint import Endpoint
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.order import Permutation


@dataclass(frozen=True)
class Response:
    """One sampled answer: ids in, ids out, never decoded and encoded again.

    Attributes:
        generation: all that follows the prompt. Where tools were used, what they said stands in it, with
            log-probabilities of 0.
        text: what the answer says; where tools were used, what was said after the last of them.
        written: for each id of the generation, whether the policy chose it; none: it chose all.
        calls, failed: tools that were called, and those of them that came to nothing.
    """

    item: dict[str, Any]
    prompt: list[int]
    generation: Generation
    text: str
    written: list[bool] | None = None
    calls: int = 0
    failed: int = 0

    @property
    def length(self) -> int:
        """Tokens that the policy chose."""
        return len(self.generation.ids) if self.written is None else sum(self.written)

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

    With `tools` an answer may call them, at most `calls` times, and reads at most `longest` characters of what they
    say; `max_new` then bounds all turns of an answer together, the tools' words among them.

    With a `server`, answers come from the model that it serves, as the ids and log-probabilities that it gives.

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
        tools: Sequence[Tool] = (),
        calls: int = 4,
        longest: int = 500,
        server: Endpoint | None = None,
    ) -> None:
        self.items, self.tokenizer = list(items), tokenizer
        self.prompts, self.group, self.seed, self.server = prompts, group, seed, server
        self.sampling = Sampling(temperature=temperature, max_new=max_new)
        self.rules = of_tokenizer(tokenizer)
        self.turns: ToolTurns | None = None
        if tools:
            self.turns = ToolTurns(tokenizer, tools, self.sampling, calls=calls, longest=longest)
        renderer = self.turns or Renderer(tokenizer)
        self._messages = [item["messages"] for item in self.items]
        self.ids = [renderer.prompt(messages) for messages in self._messages]
        widest = max((len(ids) for ids in self.ids), default=0)
        if not self.items:
            raise Refused("no prompts to sample answers to; give an examples artifact with prompts.jsonl")
        if length is not None and widest + max_new > length + 1:
            raise Refused(
                f"a prompt of {widest} tokens and an answer of {max_new} do not fit rows of {length}; "
                "lower max_new, or raise length, up to the model's context"
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
        if self.server is not None:
            served = sampled_there(
                self.server,
                [self._messages[i] for i in rows],
                [self.ids[i] for i in rows],
                self.sampling,
                seeds,
                frozenset(self.rules["stop_ids"]),
            )
            return self._responses(rows, served)
        with merged(model):  # one product a layer instead of three, at every token
            if self.turns is not None:
                transcripts = self.turns.run(model, [self._messages[i] for i in rows], seeds)
                return [
                    Response(
                        self.items[i],
                        self.ids[i],
                        one.generation,
                        one.text,
                        one.written,
                        one.calls,
                        one.failed,
                    )
                    for i, one in zip(rows, transcripts, strict=True)
                ]
            generations = generate(
                model, [self.ids[i] for i in rows], self.sampling, seeds=list(seeds), **self.rules
            )
        return self._responses(rows, generations)

    def _responses(self, rows: Sequence[int], generations: Sequence[Generation]) -> list[Response]:
        return [
            Response(self.items[i], self.ids[i], generation, self.tokenizer.decode(generation.ids))
            for i, generation in zip(rows, generations, strict=True)
        ]

    def state(self) -> dict[str, int | float | str]:
        """The scalars that, with a step and the weights, fix what is sampled."""
        tools = {} if self.turns is None else {"tools": ", ".join(one.name for one in self.turns.tools)}
        return {
            "fingerprint": blake3("\n".join(dumps(item) for item in self.items).encode()).hexdigest(),
            "seed": self.seed,
            "prompts": self.prompts,
            "group": self.group,
            **tools,
        }

    def _item(self, turn: int) -> int:
        epoch, place = divmod(turn, len(self.items))
        return int(Permutation(len(self.items), derive(self.seed, "prompts", epoch))(np.array([place]))[0])


def told(responses: Sequence[Response]) -> dict[str, float]:
    """What is recorded of every rollout: tokens that the policy chose, the share of answers that it ended itself, and,
    where there are tools, how many an answer called and the share of those that came to nothing."""
    count, calls = len(responses), sum(response.calls for response in responses)
    figures = {
        "response_length": sum(response.length for response in responses) / count,
        "ended": sum(response.ended for response in responses) / count,
    }
    if any(response.written is not None for response in responses):
        failed = sum(response.failed for response in responses)
        figures |= {"tool_calls": calls / count, "tool_failures": failed / calls if calls else 0.0}
    return figures
