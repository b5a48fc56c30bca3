"""A request to the engine: what is asked for, what has come so far, and what the engine knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from exnihilo.core.errors import ExnihiloError
from exnihilo.infer.pool import Place
from exnihilo.infer.sampling import Draw, Sampling
from exnihilo.infer.stream import TextStream


class Constraint(Protocol):
    """What a text may look like, as an automaton over tokens (`infer/automaton.py`)."""

    start: int

    def allowed(self, state: int, budget: int | None = None) -> Tensor:
        """The tokens that may follow when `budget` may still be written: bool `[at most V]`."""
        ...

    def advance(self, state: int, token: int) -> int:
        """The state after a token."""
        ...


@dataclass(frozen=True)
class Generation:
    """What one prompt was continued with.

    Attributes:
        ids: new tokens, the one that ended the text included.
        logprobs: of each token under the model itself (temperature 1, nothing left out).
        sampled_logprobs: of each token under the distribution it was drawn from; 0 when greedy.
        finish: "stop" where a stop token or string ended it, "length" at `max_new` or the end of the context.
    """

    ids: list[int]
    logprobs: list[float]
    sampled_logprobs: list[float]
    finish: Literal["stop", "length"]


@dataclass(eq=False)
class Request:
    """A prompt on its way. `submit` makes it, steps add to it; to be read only.

    Attributes:
        prompt: ids that are continued.
        sampling: its settings.
        seed: of its draws.
        limit: most new tokens: `max_new`, or what the context leaves.
        ids, logprobs, sampled_logprobs: as in `Generation`, so far.
        finish: None until it has ended; "cancelled" where it was given up, "failed" where a step failed.
        prefilled: tokens of the prompt that were computed for it alone.
    """

    prompt: list[int]
    sampling: Sampling
    seed: int
    limit: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    sampled_logprobs: list[float] = field(default_factory=list)
    finish: Literal["stop", "length", "cancelled", "failed"] | None = None
    prefilled: int = 0

    @property
    def generation(self) -> Generation:
        """The result. Raises ExnihiloError where there is none: before the end, or broken off."""
        if self.finish != "stop" and self.finish != "length":
            raise ExnihiloError(f"a request has no result: it is {self.finish or 'still running'}")
        return Generation(self.ids, self.logprobs, self.sampled_logprobs, self.finish)


@dataclass(eq=False)
class Row:
    """A request with what only the engine needs to know of it."""

    request: Request
    ends: frozenset[int]
    keep: bool
    constraint: Constraint | None
    state: int = 0
    stream: TextStream | None = None
    seen: Tensor | None = None
    place: Place | None = None

    @property
    def most(self) -> int:
        """Tokens that it may come to."""
        return len(self.request.prompt) + self.request.limit

    @property
    def left(self) -> int:
        """Tokens that it may still write."""
        return self.request.limit - len(self.request.ids)

    @property
    def draw(self) -> Draw:
        """What its next token depends on besides the model."""
        return Draw(self.request.sampling, self.request.seed, len(self.request.ids), self.seen)

    def take(self, token: int, logprob: float, sampled: float) -> bool:
        """Add a token; whether the request has ended with it."""
        request = self.request
        request.ids.append(token)
        request.logprobs.append(logprob)
        request.sampled_logprobs.append(sampled)
        if token in self.ends:
            request.finish = "stop"
            return True
        if self.stream is not None:
            self.stream.push(token)
            if self.stream.stopped is not None:
                request.finish = "stop"
                return True
        if self.left == 0:
            request.finish = "length"
            return True
        if self.constraint is not None:
            self.state = self.constraint.advance(self.state, token)
        return False
