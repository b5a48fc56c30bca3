"""Continuous batching: requests join and leave the batch at any step, over one pool of keys and values.

    engine = Engine(model, max_rows=64, **of_tokenizer(tokenizer))
    request = engine.submit(prompt, sampling, seed=0, constraint=None)   # prompt: list[int] -> Request
    ended = engine.step()                 # one more token for every row: list[Request] that have just ended
    engine.run()                          # until all requests have ended
    for token in engine.stream(request)   # tokens of one request; every step moves all requests on
    engine.cancel(request)                # gives up its row
    request.ids, request.logprobs, request.sampled_logprobs, request.finish   # finish is None while it runs
    request.generation                    # Generation(ids, logprobs, sampled_logprobs, finish)

What a request generates depends on its prompt, its seed and its settings alone, up to the rounding of matrix
products, which differs with the shape of a batch. What requests begin with in common is computed once
(`infer/admission.py`) and, where that pays, read once in each step (`infer/attention.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from exnihilo.core.errors import ConfigError, ExnihiloError
from exnihilo.core.memory import keep_freed_memory
from exnihilo.infer.admission import admit
from exnihilo.infer.attention import Decoding
from exnihilo.infer.passes import Passes
from exnihilo.infer.pool import Place, Pool, Prefix, Shape
from exnihilo.infer.requests import Constraint, Request, Row
from exnihilo.infer.sampling import Sampler, Sampling, never_sampled
from exnihilo.infer.stream import TextStream
from exnihilo.model.blocked import ROWS

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder

# Keys and values that running requests may come to, each as long as it is allowed to get.
POOL_BYTES = 4 * 2**30


class Engine:
    """Generates for any number of requests at once, for one model whose weights stay as they are.

    Args:
        model: on its device.
        stop_ids, vocab_size, banned, bos, token_bytes: what generation must know of the tokenizer, from
            `sampling.of_tokenizer`. Ids from `vocab_size` on and `banned` ones are never sampled. An empty
            prompt starts from `bos`. Stop strings need `token_bytes`.
        max_rows: requests that run at a time; the others wait, first come first served. A request also waits
            while running ones may come to fill `POOL_BYTES`.
    """

    def __init__(
        self,
        model: Decoder,
        *,
        stop_ids: Iterable[int] = (),
        vocab_size: int | None = None,
        banned: Iterable[int] = (),
        bos: int = 0,
        token_bytes: Sequence[bytes] | None = None,
        max_rows: int = 256,
    ) -> None:
        weight = model.embedding.weight
        if weight.device.type == "cpu":
            keep_freed_memory()
        self.model, self.bos, self.token_bytes, self.max_rows = model, bos, token_bytes, max_rows
        self.stop_ids = frozenset(stop_ids)
        self.pool = Pool(Shape.of(model.config, weight))
        self._passes = Passes(model)
        self._never = never_sampled(model.config.vocab_size, vocab_size, banned, weight.device)
        self._device = weight.device
        self._waiting: deque[Row] = deque()
        self._rows: dict[Place, Row] = {}
        self._order: list[Row] = []  # of the batch that `_sampler` is for
        self._sampler: Sampler | None = None

    @property
    def running(self) -> int:
        """Requests that have a row."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling | None = None,
        *,
        seed: int = 0,
        constraint: Constraint | None = None,
        keep: bool = False,
    ) -> Request:
        """Queue a request; it starts with one of the next steps.

        With `keep`, its keys and values stay for a request that begins with its text, as the next turn of a
        conversation does.

        Raises:
            ConfigError: the prompt fills the model's context, or stop strings come without `token_bytes`.
        """
        sampling = sampling or Sampling()
        ids, context = list(prompt) or [self.bos], self.model.config.max_length
        if len(ids) >= context:
            raise ConfigError(
                f"a prompt has {len(ids)} tokens and leaves no room in the model's context of {context}; "
                "shorten it"
            )
        if sampling.stop and self.token_bytes is None:
            raise ConfigError("stop strings need the tokenizer's token_bytes; pass **of_tokenizer(tokenizer)")
        request = Request(ids, sampling, seed, min(sampling.max_new, context - len(ids)))
        row = Row(request, self.stop_ids.union(sampling.stop_ids), keep, constraint)
        if constraint is not None:
            row.state = constraint.start
        if sampling.stop and self.token_bytes is not None:
            row.stream = TextStream(self.token_bytes, sampling.stop)
        if sampling.repetition_penalty != 1.0:
            row.seen = torch.zeros(self.model.config.vocab_size, dtype=torch.bool, device=self._device)
            row.seen[torch.tensor(ids, device=self._device)] = True
        self._waiting.append(row)
        return request

    def step(self) -> list[Request]:
        """Give every running request, and those that can start, one more token; return what ended with it.

        Where a step fails or is interrupted, so have all requests that were running; the others go on waiting.
        """
        try:
            return self._step()
        except BaseException:
            self._give_up()
            raise

    @torch.inference_mode()
    def _step(self) -> list[Request]:
        hidden = []
        order = [self._rows[place] for group in self.pool.groups for place in group.places]
        if order:
            hidden.append(self._decode(order))
        started = self._start()
        order += [row for row, _ in started]
        hidden += [state[None] for _, state in started]
        if not order:
            return []
        if self._sampler is None or order != self._order:
            self._order, self._sampler = order, Sampler([row.draw for row in order], self._never)
        allowed = {
            i: row.constraint.allowed(row.state, row.left).to(self._device)
            for i, row in enumerate(order)
            if row.constraint is not None
        }
        logits = self._passes.head(hidden[0] if len(hidden) == 1 else torch.cat(hidden))
        choice = self._sampler.choose(logits, allowed)
        ended = [
            row
            for row, token, raw, sampled in zip(order, *(column.tolist() for column in choice), strict=True)
            if row.take(token, raw, sampled)
        ]
        for row in ended:
            self._leave(row)
        return [row.request for row in ended]

    def run(self) -> None:
        """Step until no request is left."""
        while self._rows or self._waiting:
            self.step()

    def stream(self, request: Request) -> Generator[int, None, None]:
        """The tokens of a request as they come; steps, for all requests, where the next is not there yet.

        Closing the iterator before the end cancels the request. Raises ExnihiloError where a step that another
        asked for has failed.
        """
        given = 0
        try:
            while given < len(request.ids) or request.finish is None:
                if given == len(request.ids):
                    self.step()
                while given < len(request.ids):
                    given += 1
                    yield request.ids[given - 1]
            if request.finish == "failed":
                raise ExnihiloError(
                    "the answer was broken off, since the step that made it failed; ask again"
                )
        finally:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """Give up a request, running or waiting; nothing happens to one that has ended."""
        if request.finish is not None:
            return
        request.finish = "cancelled"
        for row in self._waiting:
            if row.request is request:
                self._waiting.remove(row)
                return
        for row in self._rows.values():
            if row.request is request:
                with torch.inference_mode():
                    self._leave(row)
                return

    def _decode(self, order: list[Row]) -> Tensor:
        """Read each row's last token: hidden states `[B, width]`."""
        tokens = torch.tensor([row.request.ids[-1] for row in order], device=self._device)
        lasting = sorted((row.left for row in order), reverse=True)[: ROWS.start][-1]
        hidden = self._passes.step(tokens, Decoding(self.pool.groups), lasting)
        for group in self.pool.groups:
            group.held[:] += 1
        return hidden

    def _start(self) -> list[tuple[Row, Tensor]]:
        """Give waiting requests the free rows: each with the hidden state `[width]` of its prompt's last token."""
        if not self._waiting or len(self._rows) == self.max_rows:
            return []
        rows: list[Row] = []
        reserved = sum(row.most for row in self._rows.values())
        most = POOL_BYTES // self.pool.shape.token_bytes
        for row in self._waiting:
            if len(self._rows) + len(rows) == self.max_rows or (reserved and reserved + row.most > most):
                break
            reserved += row.most
            rows.append(row)
        if not rows:
            return []
        requests = [row.request for row in rows]
        admitted = admit(
            self._passes.read, self.pool, [r.prompt for r in requests], [r.limit for r in requests]
        )
        for row, entry in zip(rows, admitted, strict=True):
            row.place, row.request.prefilled = entry.place, entry.read
            self._rows[entry.place] = row
            self._waiting.popleft()
        return [(row, entry.hidden) for row, entry in zip(rows, admitted, strict=True)]

    def _leave(self, row: Row) -> None:
        place = row.place
        assert place is not None
        if row.keep:
            self._keep(row.request, place)
        del self._rows[place]
        self.pool.release(place)
        self._sampler = None

    def _give_up(self) -> None:
        for row in self._rows.values():
            row.request.finish = "failed"
        self._rows.clear()
        self.pool.clear()
        self._sampler = None

    def _keep(self, request: Request, place: Place) -> None:
        """Keep the keys of all tokens that have been read: the last one chosen has not."""
        group = place.group
        length = int(group.lengths[place.slot])
        own = group.store[:, :, place.slot, :, :length]
        store = own.clone() if place.prefix is None else torch.cat((place.prefix.store, own), -2)
        tokens = (request.prompt + request.ids)[: store.shape[-2]]
        self.pool.keep(Prefix(tokens, store))
