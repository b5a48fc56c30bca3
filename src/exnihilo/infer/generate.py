"""Batched generation with a key-value cache: the engine of evaluation and of reinforcement learning.

Prompts are sorted by length into batches; equal prompts of a batch are prefilled once. Rows that have ended
leave the batch. What a row generates depends on its prompt, its seed and the settings alone, up to the
rounding of matrix products, which differs with the shape of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from exnihilo.core.errors import ConfigError
from exnihilo.infer.sampling import Sampler, Sampling
from exnihilo.infer.stream import TextStream
from exnihilo.model.cache import KVCache

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder

# Tokens of one forward pass while prompts are read: bounds its activations.
PREFILL_TOKENS = 16_384
# Ended rows are dropped once they are this share of the batch: each drop copies the cache, and so all drops
# together copy it at most three times over.
DROP_SHARE = 0.25


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


def generate(
    model: Decoder,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    *,
    seeds: Sequence[int] | None = None,
    stop_ids: Iterable[int] = (),
    vocab_size: int | None = None,
    banned: Iterable[int] = (),
    bos: int = 0,
    token_bytes: Sequence[bytes] | None = None,
    max_batch: int = 256,
    progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """Continue each prompt; results in the order of `prompts`.

    `stop_ids`, `vocab_size`, `banned`, `bos` and `token_bytes` come from `sampling.of_tokenizer`. Ids from
    `vocab_size` on and `banned` ones are never sampled. An empty prompt starts from `bos`. `seeds` holds one
    seed per prompt; without it they come from torch's global generator. Strings in `sampling.stop` need
    `token_bytes`. `progress` is called with the number of rows that have just ended.

    Raises:
        ConfigError: a prompt fills the model's context, `seeds` is of another length, or stop strings come
            without `token_bytes`.
    """
    if seeds is None:
        seeds = torch.randint(2**62, (len(prompts),)).tolist()
    if len(seeds) != len(prompts):
        raise ConfigError(f"{len(seeds)} seeds for {len(prompts)} prompts; give one seed per prompt")
    if sampling.stop and token_bytes is None:
        raise ConfigError("stop strings need the tokenizer's token_bytes; pass **of_tokenizer(tokenizer)")
    started = [prompt or [bos] for prompt in prompts]
    longest = max(map(len, started), default=0)
    if longest >= model.config.max_length:
        raise ConfigError(
            f"prompt {[len(p) for p in started].index(longest)} has {longest} tokens and leaves no room "
            f"in the model's context of {model.config.max_length}; shorten it"
        )
    ends = torch.tensor(sorted({*stop_ids, *sampling.stop_ids}), dtype=torch.long, device=_device(model))
    results: list[Generation | None] = [None] * len(prompts)
    # Sorting by content as well puts equal prompts into one batch.
    order = sorted(range(len(started)), key=lambda i: (len(started[i]), started[i]))
    for start in range(0, len(order), max_batch):
        rows = order[start : start + max_batch]
        batch = _Batch(model, [started[i] for i in rows], sampling, ends, token_bytes)
        sampler = Sampler(
            sampling,
            [seeds[i] for i in rows],
            model.config.vocab_size,
            vocab_size=vocab_size,
            banned=banned,
            prompts=batch.prompts,
            device=_device(model),
        )
        for i, generation in zip(rows, batch.run(sampler, progress), strict=True):
            results[i] = generation
    return [generation for generation in results if generation is not None]


class _Batch:
    """One batch on its way: rows of the results `[N, steps]` and the cache of those still running."""

    def __init__(
        self,
        model: Decoder,
        prompts: list[list[int]],
        sampling: Sampling,
        ends: Tensor,
        token_bytes: Sequence[bytes] | None,
    ) -> None:
        self.model, self.prompts, self.ends = model, prompts, ends
        context = model.config.max_length
        # A row may use the whole context that its own prompt leaves, as it could alone.
        self.limits = torch.tensor(
            [min(sampling.max_new, context - len(p)) for p in prompts], device=ends.device
        )
        self.steps = int(self.limits.max())
        self.capacity = min(len(prompts[-1]) + self.steps, context)
        self.streams = (
            [TextStream(token_bytes, sampling.stop) for _ in prompts] if token_bytes and sampling.stop else []
        )

    @torch.inference_mode()
    def run(self, sampler: Sampler, progress: Callable[[int], None] | None) -> list[Generation]:
        model, rows = self.model, len(self.prompts)
        ids = torch.zeros(rows, self.steps, dtype=torch.long, device=self.ends.device)
        raw, sampled = torch.zeros(2, rows, self.steps, device=self.ends.device)
        lengths = self.limits.clone()
        stopped = torch.zeros(rows, dtype=torch.bool, device=self.ends.device)
        hidden, cache = self._prefill()
        alive = torch.arange(rows, device=self.ends.device)  # the result row of each row of the cache
        running = torch.ones(rows, dtype=torch.bool, device=self.ends.device)
        for step in range(self.steps):
            choice = sampler.choose(model.head(hidden), step)
            ids[alive, step], raw[alive, step], sampled[alive, step] = choice
            stops = torch.isin(choice.ids, self.ends) | self._stop_strings(choice.ids, alive)
            ended = running & (stops | (self.limits[alive] == step + 1))
            if bool(ended.any()):
                lengths[alive[ended]] = step + 1
                stopped[alive[ended]] = stops[ended]
                running &= ~ended
                if progress is not None:
                    progress(int(ended.sum()))
                left = int(running.sum())
                if left == 0:
                    break
                if len(alive) - left >= DROP_SHARE * len(alive):
                    kept = running.nonzero().squeeze(1)
                    cache.select(kept)
                    sampler.select(kept)
                    alive, running, choice = alive[kept], running[kept], choice._replace(ids=choice.ids[kept])
            if cache.length == cache.capacity:
                drop_padding(cache, running)
            hidden = model.hidden(choice.ids.unsqueeze(1), cache=cache)[:, -1]
        return [
            Generation(i[:n], r[:n], s[:n], "stop" if stop else "length")
            for i, r, s, n, stop in zip(
                ids.tolist(), raw.tolist(), sampled.tolist(), lengths.tolist(), stopped.tolist(), strict=True
            )
        ]

    def _prefill(self) -> tuple[Tensor, KVCache]:
        """Last hidden states `[N, width]` and the cache of all prompts, equal prompts computed once."""
        unique = list(dict.fromkeys(map(tuple, self.prompts)))
        longest = len(self.prompts[-1])
        starts = torch.tensor([longest - len(prompt) for prompt in unique])
        padded = torch.tensor(
            [(0,) * (longest - len(prompt)) + prompt for prompt in unique], device=self.ends.device
        )
        weights = self.model.embedding.weight
        cache = KVCache(
            self.model.config,
            len(unique),
            self.capacity,
            starts=starts,
            dtype=weights.dtype,
            device=weights.device,
        )
        for part in torch.split(padded, max(1, PREFILL_TOKENS // len(unique)), dim=1):
            hidden = self.model.hidden(part, cache=cache)[:, -1]
        place = {prompt: row for row, prompt in enumerate(unique)}
        rows = torch.tensor([place[tuple(prompt)] for prompt in self.prompts], device=self.ends.device)
        if len(unique) < len(self.prompts):
            cache.select(rows)
            hidden = hidden[rows]
        return hidden, cache

    def _stop_strings(self, ids: Tensor, alive: Tensor) -> Tensor:
        if not self.streams:
            return torch.zeros_like(ids, dtype=torch.bool)
        chosen = [self.streams[row] for row in alive.tolist()]
        for stream, token in zip(chosen, ids.tolist(), strict=True):
            stream.push(token)
        return torch.tensor([stream.stopped is not None for stream in chosen], device=ids.device)


def drop_padding(cache: KVCache, running: Tensor) -> None:
    """Make room in a full cache: shift it left by the padding that every running row (bool `[B]`) has.

    A full cache is as long as the context, and a row that has come so far without padding has ended. Rows
    that have ended lose keys, which nobody reads.
    """
    shift = int(cache.starts[running].min())
    for layer in cache.layers:
        kept = layer.length - shift
        layer.key[:, :, :kept] = layer.key[:, :, shift : layer.length].clone()
        layer.value[:, :, :kept] = layer.value[:, :, shift : layer.length].clone()
        layer.length = kept
    cache.starts = (cache.starts - shift).clamp(min=0)


def _device(model: Decoder) -> torch.device:
    return model.embedding.weight.device
