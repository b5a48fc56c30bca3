"""A conversation with a model that keeps its key-value cache from turn to turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

import torch

from exnihilo.core.errors import ConfigError
from exnihilo.core.seeds import derive
from exnihilo.infer.sampling import Sampler, Sampling, of_tokenizer
from exnihilo.infer.stream import TextStream
from exnihilo.model.cache import KVCache
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


@dataclass(frozen=True)
class Done:
    """The answer is complete: its whole text, why it ended, its tokens, and the tokens prefilled for it."""

    text: str
    finish: Literal["stop", "length"]
    tokens: int
    prefilled: int


Event = Text | Dropped | Done


class ChatSession:
    """A conversation; a turn computes only the tokens that the cache does not hold yet.

    The transcript is one list of token ids: the model's own tokens stay as it chose them. Where it no longer
    fits the context, the oldest exchanges leave it, never the system prompt, and the rest is rendered anew.

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
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.sampling = sampling or Sampling()
        self.seed = seed
        self.prefilled = 0
        self._renderer = Renderer(tokenizer)
        self._rules = of_tokenizer(tokenizer)
        self._cached: list[int] = []
        self._cache: KVCache | None = None
        self.reset(system)

    def reset(self, system: str | None = None) -> None:
        """Begin a new conversation. The cache stays and is reused as far as the new one begins alike."""
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

    @torch.inference_mode()
    def _prefill(self, ids: list[int], room: int) -> torch.Tensor:
        """Hidden state `[1, width]` of the last of `ids`; only what the cache lacks is computed."""
        same = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._cached, ids[:-1], strict=False))
        )
        cache = self._cache_for(len(ids) + room, same)
        cache.rewind(same)
        self._cached = ids[:same]
        self.prefilled = len(ids) - same
        new = torch.tensor([ids[same:]], device=cache.starts.device)
        hidden = self.model.hidden(new, cache=cache)[:, -1]
        self._cached = list(ids)
        return hidden

    def _cache_for(self, needed: int, held: int) -> KVCache:
        """A cache with room for `needed` tokens that keeps `held` of the old one; it grows by doubling."""
        old, context = self._cache, self.model.config.max_length
        if old is not None and old.capacity >= min(needed, context):
            return old
        weights = self.model.embedding.weight
        capacity = min(context, max(256, 1 << (needed - 1).bit_length()))
        new = KVCache(self.model.config, 1, capacity, dtype=weights.dtype, device=weights.device)
        if old is not None:
            for source, target in zip(old.layers, new.layers, strict=True):
                target.append(source.key[:, :, :held], source.value[:, :, :held])
        self._cache = new
        return new

    def _answer(self, ids: list[int]) -> Iterator[Event]:
        limit = min(self.sampling.max_new, self.model.config.max_length - len(ids))
        answers = sum(message["role"] == "assistant" for message in self.messages)
        sampler = Sampler(
            self.sampling,
            [derive(self.seed, "turn", answers)],
            self.model.config.vocab_size,
            vocab_size=self._rules["vocab_size"],
            banned=self._rules["banned"],
            prompts=[ids],
            device=self.model.embedding.weight.device,
        )
        stream = TextStream(self._rules["token_bytes"], self.sampling.stop)
        ends = {*self._rules["stop_ids"], *self.sampling.stop_ids}
        said: list[int] = []
        ended = False
        hidden = self._prefill(ids, limit)
        try:
            while not ended and stream.stopped is None and len(said) < limit:
                token = self._step(sampler, hidden, len(said))
                said.append(token)
                ended = token in ends
                yield Text(stream.push(token))
                if not ended and stream.stopped is None and len(said) < limit:
                    hidden = self._feed(token)
            rest = stream.finish()
            if rest:
                yield Text(rest)
        finally:
            self._record(ids, said, stream, ended)
        finish: Literal["stop", "length"] = "stop" if ended or stream.stopped is not None else "length"
        yield Done(stream.text, finish, len(said), self.prefilled)

    @torch.inference_mode()
    def _step(self, sampler: Sampler, hidden: torch.Tensor, step: int) -> int:
        return int(sampler.choose(self.model.head(hidden), step).ids)

    @torch.inference_mode()
    def _feed(self, token: int) -> torch.Tensor:
        assert self._cache is not None
        hidden = self.model.hidden(
            torch.tensor([[token]], device=self._cache.starts.device), cache=self._cache
        )
        self._cached.append(token)
        return hidden[:, -1]

    def _record(self, ids: list[int], said: list[int], stream: TextStream, ended: bool) -> None:
        """Put the answer, whole or cut off, into the conversation."""
        self.messages = [*self.messages, {"role": "assistant", "content": stream.text}]
        # The tokens hold a stop string, which is not part of the answer.
        text = self.tokenizer.encode(stream.text) if stream.stopped is not None else said[: len(said) - ended]
        self._transcript = ids + text
