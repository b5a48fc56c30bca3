"""Answers in several turns: the model calls a tool, reads what it says, and goes on, in one transcript of token ids.

What the model chose stays as it chose it. Only what stands between its turns is encoded: the end of a turn, the tool's
words and the head of the next turn, as the chat template writes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from exnihilo.core.errors import Refused
from exnihilo.core.seeds import derive
from exnihilo.infer.engine import Engine
from exnihilo.infer.requests import Generation
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.infer.tools import Call, Reply, Tool, answer, call_in
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer

PLACEHOLDER = "x"


@dataclass
class Transcript:
    """What follows a prompt.

    Attributes:
        ids: tokens of model and tools, in order.
        written: for each, whether the model chose it.
        logprobs, sampled_logprobs: as in `Generation`; 0 for a tool's tokens.
        finish: "stop" where the model ended its last turn, "length" where there was no room for more.
        text: what the model said after the last tool, or at all.
        calls: tools that were called and answered.
        failed: of those, what came to nothing.
    """

    ids: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    sampled_logprobs: list[float] = field(default_factory=list)
    finish: Literal["stop", "length"] = "length"
    text: str = ""
    calls: int = 0
    failed: int = 0

    @property
    def generation(self) -> Generation:
        """All of it as if it had been generated in one go."""
        return Generation(self.ids, self.logprobs, self.sampled_logprobs, self.finish)

    def add(self, generation: Generation, text: str) -> None:
        """Go on with a turn of the model's."""
        self.ids += generation.ids
        self.written += [True] * len(generation.ids)
        self.logprobs += generation.logprobs
        self.sampled_logprobs += generation.sampled_logprobs
        self.finish, self.text = generation.finish, text

    def insert(self, ids: Sequence[int]) -> None:
        """Go on with tokens that the model did not choose."""
        self.ids += ids
        self.written += [False] * len(ids)
        self.logprobs += [0.0] * len(ids)
        self.sampled_logprobs += [0.0] * len(ids)


class ToolTurns:
    """Continues conversations with a model that may call `tools`.

    `sampling.max_new` bounds all that follows the prompt, tools' words among it; at most `calls` tools are called for
    an answer, of whose words `longest` characters are read. A call that can't be answered within these bounds is the
    end of the answer. Raises Refused where the template has no place for a tool's words.
    """

    def __init__(
        self, tokenizer: Tokenizer, tools: Sequence[Tool], sampling: Sampling, *, calls: int, longest: int
    ) -> None:
        self.tokenizer, self.tools, self.sampling = tokenizer, tools, sampling
        self.calls, self.longest = calls, longest
        self._renderer = Renderer(tokenizer)
        self._rules = of_tokenizer(tokenizer)
        self._definitions = [one.definition for one in tools]

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """The ids that an answer to these messages follows; they say which tools there are."""
        return self._renderer.prompt(messages, self._definitions)

    def between(self, messages: Sequence[Mapping[str, Any]], said: str) -> list[int]:
        """What stands between a turn's text that calls a tool and the next turn's: the end of the one, the tool's words
        and the head of the other."""
        turn = {"role": "assistant", "content": PLACEHOLDER}
        before = self.prompt(messages) + self.tokenizer.encode(PLACEHOLDER)
        after = self.prompt([*messages, turn, {"role": "tool", "content": said}])
        if after[: len(before)] != before:
            raise Refused(
                f"{self.tokenizer.where}: the chat template writes a turn in another way once a tool has answered it; "
                "tools need one that does not (chat_template.jinja)"
            )
        return after[len(before) :]

    def run(
        self, model: Decoder, conversations: Sequence[Sequence[Mapping[str, Any]]], seeds: Sequence[int]
    ) -> list[Transcript]:
        """A transcript for each conversation, which follows from its seed and the weights.

        Turns are generated together, and all tools answer before the next begin: how long a tool takes changes nothing.
        """
        prompts = [self.prompt(messages) for messages in conversations]
        transcripts = [Transcript() for _ in prompts]
        engine = Engine(model, **self._rules)
        going, turn = list(range(len(prompts))), 0
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            while going:
                requests = [
                    engine.submit(
                        prompts[i] + transcripts[i].ids,
                        replace(self.sampling, max_new=self.sampling.max_new - len(transcripts[i].ids)),
                        seed=derive(seeds[i], "turn", turn),
                        keep=True,
                    )
                    for i in going
                ]
                engine.run()
                calls: dict[int, Call] = {}
                for i, request in zip(going, requests, strict=True):
                    text = self.tokenizer.decode(request.ids)
                    transcripts[i].add(request.generation, text)
                    call = call_in(text) if request.finish == "stop" and turn < self.calls else None
                    if call is not None:
                        calls[i] = call
                replies = list(workers.map(self._answer, calls.values()))
                going = [
                    i
                    for i, reply in zip(calls, replies, strict=True)
                    if self._read(transcripts[i], conversations[i], len(prompts[i]), reply, model)
                ]
                turn += 1
        return transcripts

    def _answer(self, call: Call) -> Reply:
        return answer(call, self.tools, longest=self.longest)

    def _read(
        self,
        transcript: Transcript,
        messages: Sequence[Mapping[str, Any]],
        prompt: int,
        reply: Reply,
        model: Decoder,
    ) -> bool:
        """Put a tool's reply into the transcript; whether there is room for it and for an answer to it."""
        ids = self.between(messages, reply.text)
        if transcript.ids[-1] == ids[0]:  # the end of the turn, which the model wrote itself
            ids = ids[1:]
        length = len(transcript.ids) + len(ids)
        transcript.calls += 1
        transcript.failed += reply.failed
        if length >= self.sampling.max_new or prompt + length >= model.config.max_length:
            transcript.finish = "length"
            return False
        transcript.insert(ids)
        return True
