"""What a teacher is: whoever answers conversations. A local model, an endpoint, a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from blake3 import blake3

from exnihilo.core.jsonl import dumps


@dataclass(frozen=True)
class Ask:
    """One conversation to be answered.

    Attributes:
        messages: OpenAI messages; the last one is answered.
        schema: a JSON schema that the answer must be of.
        tokens: whether the answer must come with its tokens, as it was sampled.
    """

    messages: list[dict[str, str]]
    temperature: float = 0.0
    max_new: int = 512
    seed: int = 0
    schema: dict[str, Any] | None = None
    tokens: bool = False

    def key(self, teacher: str) -> str:
        """What an answer is remembered by: the teacher and everything that it is asked, in hexadecimal."""
        asked = [teacher, self.messages, self.temperature, self.max_new, self.seed, self.schema]
        return blake3(dumps({"asked": asked}).encode()).hexdigest()


@dataclass(frozen=True)
class Tokens:
    """An answer as it was sampled: the ids that it followed, its own ids, and their log-probabilities in nats."""

    prompt: list[int]
    ids: list[int]
    logprobs: list[float]


@dataclass(frozen=True)
class Said:
    """An answer, or why there is none.

    Attributes:
        text: None where the teacher gave no answer; `problem` then says why.
        by: who said it, for the provenance of what is made of it.
        read, written: tokens, where the teacher counts them.
        tokens: where they were asked for.
    """

    text: str | None
    by: str
    read: int = 0
    written: int = 0
    finish: str = "stop"
    problem: str | None = None
    tokens: Tokens | None = None


Heard = Callable[[int, Said], None]
"""Told the place of each ask and what was said to it, as soon as it was."""


class Teacher(Protocol):
    """Answers conversations. `name` goes into provenance, and with it what is remembered."""

    name: str

    def answer(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Said]:
        """An answer to each, in order. `heard` is called from one thread at a time."""
        ...
