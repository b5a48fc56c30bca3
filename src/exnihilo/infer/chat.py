"""A conversation with a model that keeps its key-value cache from turn to turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from exnihilo.core.errors import ConfigError
from exnihilo.core.seeds import derive
from exnihilo.infer.engine import Engine
from exnihilo.infer.requests import Constraint
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.infer.stream import TextStream
from exnihilo.tokenizer.template import Renderer

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder
    from exnihilo.tokenizer.tokenizer import Tokenizer

Turn = dict[str, str]


@dataclass(frozen=True)
class Text:
    """A piece of the answer; empty while a character or a stop string is incomplete. One comes per token."""

    text: str


@dataclass(frozen=True)
class Dropped:
    """So many of the oldest messages have just left the context; the model no longer knows them."""

    messages: int


class Token(NamedTuple):
    """A token of an answer, with its log-probability under the model itself (temperature 1, nothing left out)."""

    id: int
    logprob: float
    text: bytes


@dataclass(frozen=True)
class Done:
    """The answer is complete: its whole text, why it ended, its tokens, and those of its prompt: all, computed.

    `said` are the tokens as the model chose them, the one that ended the answer among them, and `read` the ids of the
    prompt that they followed: what a trainer learns from.
    """

    text: str
    finish: Literal["stop", "length"]
    tokens: int
    prompt: int
    prefilled: int
    said: list[Token]
    read: list[int]


Event = Text | Dropped | Done


class ChatSession:
    """A conversation; a turn computes only the tokens that the cache does not hold yet.

    The transcript is one list of token ids: the model's own tokens stay as it chose them. Where it no longer
    fits the context, the oldest exchanges leave it, never the system prompt, and the rest is rendered anew.
    Conversations with one model may share an `engine`: what they ask for at a time is generated together. A
    `constraint` holds for every answer.

    Attributes:
        messages: the whole conversation so far, what left the context included.
        dropped: how many messages after the system prompt have left the context.
        prefilled: tokens computed for the last turn's prompt.
    """

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        *,
        system: str | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        constraint: Constraint | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.sampling = sampling or Sampling()
        self.seed = seed
        self.constraint = constraint
        self.prefilled = 0
        self._renderer = Renderer(tokenizer)
        self._rules = of_tokenizer(tokenizer)
        self.engine = engine or Engine(model, **self._rules)
        self.reset(system)

    def reset(self, system: str | None = None) -> None:
        """Begin a new conversation. The engine's cache is reused as far as the new one begins alike."""
        self.messages: list[Turn] = [] if system is None else [{"role": "system", "content": system}]
        self.dropped = 0
        self._transcript: list[int] = []  # up to the last answer's text, without what ends its turn

    def send(self, text: str) -> Iterator[str]:
        """Say `text` and yield the answer in pieces of text."""
        for event in self.events(text):
            if isinstance(event, Text) and event.text:
                yield event.text

    def events(self, text: str) -> Iterator[Event]:
        """Say `text` and yield what happens: perhaps `Dropped`, then `Text` for each token, then `Done`.

        Closing the iterator stops the answer; what was said until then stays in the conversation. Raises
        ConfigError for a message that does not fit the context.
        """
        return self.reply([*self.messages, {"role": "user", "content": text}])

    def reply(self, messages: Sequence[Turn]) -> Iterator[Event]:
        """As `events`, for a whole conversation that ends in a user's message.

        Where it continues this session's, only the new message is computed.
        """
        messages = [dict(message) for message in messages]
        if not messages or messages[-1]["role"] != "user":
            raise ConfigError("the last message must be the user's: an answer is wanted to it")
        if messages[:-1] != self.messages or not self._transcript:
            self.dropped = 0
            ids = self._renderer.prompt(messages)
        else:
            ids = self._continue(messages)
        dropped = self.dropped
        ids, self.dropped = self._fit(messages, ids)
        self.messages, self._transcript = messages, []
        if self.dropped > dropped:
            yield Dropped(self.dropped - dropped)
        yield from self._answer(ids)

    def _kept(self, messages: Sequence[Turn], dropped: int) -> list[Turn]:
        head = int(messages[0]["role"] == "system")
        return [*messages[:head], *messages[head + dropped :]]

    def _fit(self, messages: list[Turn], ids: list[int]) -> tuple[list[int], int]:
        """The prompt, and how many of the oldest messages are left out so that an answer fits after it.

        The answer's room is `max_new`, but at most a quarter of the context, so that a long answer limit does
        not push out what was said.
        """
        context = self.model.config.max_length
        room = min(self.sampling.max_new, context // 4)
        head, dropped = int(messages[0]["role"] == "system"), self.dropped
        users = [
            i - head for i, message in enumerate(messages) if message["role"] == "user" and i - head > dropped
        ]
        for start in users:
            if len(ids) + room <= context:
                break
            dropped = start
            ids = self._renderer.prompt(self._kept(messages, dropped))
        if len(ids) >= context:
            raise ConfigError(
                f"the message has {len(ids)} tokens with the system prompt, "
                f"and the model's context is {context}; shorten it"
            )
        return ids, dropped

    def _continue(self, messages: list[Turn]) -> list[int]:
        """The transcript, then what the template puts after the last answer: its end and the new message.

        Where the template writes the past in another way (some leave out reasoning), all is rendered anew.
        """
        kept = self._kept(messages, self.dropped)
        ids = self._renderer.prompt(kept)
        past = self._renderer.prompt(kept[:-2]) + self.tokenizer.encode(kept[-2]["content"])
        return self._transcript + ids[len(past) :] if ids[: len(past)] == past else ids

    def _answer(self, ids: list[int]) -> Iterator[Event]:
        answers = sum(message["role"] == "assistant" for message in self.messages)
        # The text, and so its stop strings, is followed here, piece by piece.
        request = self.engine.submit(
            ids,
            replace(self.sampling, stop=()),
            seed=derive(self.seed, "turn", answers),
            constraint=self.constraint,
            keep=True,
        )
        text = TextStream(self._rules["token_bytes"], self.sampling.stop)
        tokens = self.engine.stream(request)
        ended = False
        try:
            while text.stopped is None and (token := next(tokens, None)) is not None:
                ended = token in self._rules["stop_ids"] or token in self.sampling.stop_ids
                yield Text(text.push(token))
            rest = text.finish()
            if rest:
                yield Text(rest)
        finally:
            tokens.close()
            self.prefilled = request.prefilled
            self._record(ids, request.ids, text, ended)
        finish: Literal["stop", "length"] = "stop" if ended or text.stopped is not None else "length"
        said = [
            Token(token, logprob, self._rules["token_bytes"][token])
            for token, logprob in zip(request.ids, request.logprobs, strict=True)
        ]
        yield Done(text.text, finish, len(said), len(ids), self.prefilled, said, ids)

    def _record(self, ids: list[int], said: list[int], stream: TextStream, ended: bool) -> None:
        """Put the answer, whole or cut off, into the conversation."""
        self.messages = [*self.messages, {"role": "assistant", "content": stream.text}]
        # The tokens hold a stop string, which is not part of the answer.
        text = self.tokenizer.encode(stream.text) if stream.stopped is not None else said[: len(said) - ended]
        self._transcript = ids + text
