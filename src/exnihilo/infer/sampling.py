"""How the next token is chosen: penalties, temperature, top-k, top-p, then one draw (in this order).

Draws are counter-based: the uniform number of a row depends on its seed and on how many tokens it has
generated, and on nothing else, so that a seed gives the same text whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

from exnihilo.core.errors import ConfigError, ExnihiloError

if TYPE_CHECKING:
    from exnihilo.tokenizer.tokenizer import Tokenizer

NEVER = float("-inf")


@dataclass(frozen=True)
class Sampling:
    """Settings of one request.

    Attributes:
        temperature: divides the logits; 0 is greedy decoding (the first of equal maxima).
        top_k: keep the k likeliest tokens; 0 keeps all.
        top_p: keep the likeliest tokens that together reach this probability (arXiv 1904.09751).
        max_new: most tokens to generate, the end token included.
        repetition_penalty: divides positive and multiplies negative logits of tokens already in the text,
            prompt included (arXiv 1909.05858); 1 is off.
        stop: strings that end the text where the first of them is complete; they are not part of it.
        stop_ids: tokens that end the text, besides those of the tokenizer.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_new: int = 256
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        allowed = {
            "temperature": (0 <= self.temperature < float("inf"), "0 (greedy) or more"),
            "top_k": (self.top_k >= 0, "0 (off) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1 (off)"),
            "max_new": (self.max_new >= 1, "at least 1"),
            "repetition_penalty": (0 < self.repetition_penalty < float("inf"), "above 0; 1 is off"),
            "stop": (not isinstance(self.stop, str) and all(self.stop), "a tuple of non-empty strings"),
        }
        wrong = [
            f"{name}: {getattr(self, name)!r}; must be {text}"
            for name, (ok, text) in allowed.items()
            if not ok
        ]
        if wrong:
            raise ConfigError(*wrong)


class TokenizerRules(TypedDict):
    """What generation must know of a tokenizer; unpacks into the keywords of `generate`."""

    stop_ids: tuple[int, ...]
    vocab_size: int
    banned: tuple[int, ...]
    bos: int
    token_bytes: list[bytes]


def of_tokenizer(tokenizer: Tokenizer) -> TokenizerRules:
    """End-of-turn and end-of-document tokens end a text; every other special token is never sampled."""
    ends = (tokenizer.end, tokenizer.eos)
    return {
        "stop_ids": ends,
        "vocab_size": tokenizer.vocab_size,
        "banned": tuple(sorted(set(tokenizer.special.values()) - set(ends))),
        "bos": tokenizer.bos,
        "token_bytes": tokenizer.token_bytes,
    }


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Repetition penalty on the tokens marked in `seen` (bool), both `[B, V]`."""
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """-inf for all but the k largest logits of each row `[B, V]`; what equals the k-th stays."""
    if k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k, dim=-1).values[:, -1:], NEVER)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """-inf outside the nucleus of each row `[B, V]`: tokens that come after `p` is reached."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    outside = probabilities.cumsum(dim=-1) - probabilities >= p
    outside[:, 0] = False
    return logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), NEVER)


def shape_logits(logits: Tensor, sampling: Sampling, seen: Tensor | None = None) -> Tensor:
    """Logits `[B, V]` of the distribution that is sampled from: penalties, temperature, top-k, top-p.

    `seen` (bool `[B, V]`) marks the tokens already in each row's text; needed with a repetition penalty.
    """
    if sampling.repetition_penalty != 1.0 and seen is not None:
        logits = penalise(logits, seen, sampling.repetition_penalty)
    if sampling.temperature not in (0.0, 1.0):
        logits = logits / sampling.temperature
    if sampling.top_k:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p < 1.0:
        logits = keep_top_p(logits, sampling.top_p)
    return logits


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): all output bits depend on all input bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def uniforms(seeds: np.ndarray, step: int) -> np.ndarray:
    """One number in [0, 1) per seed (uint64 `[B]`) for draw `step`; float64 with 53 random bits."""
    counter = np.uint64((step + 1) * 0x9E3779B97F4A7C15 & (2**64 - 1))
    bits = _mix(_mix(seeds) + counter)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Choice(NamedTuple):
    """The chosen tokens of a batch, each `[B]`."""

    ids: Tensor
    logprobs: Tensor
    sampled_logprobs: Tensor


class Sampler:
    """Chooses the next token of every row of a batch.

    `banned` ids and ids from `vocab_size` on (padding of the embedding) have probability 0. With a repetition
    penalty, `prompts` tell what each row's text already holds.
    """

    def __init__(
        self,
        sampling: Sampling,
        seeds: list[int],
        width: int,
        *,
        vocab_size: int | None = None,
        banned: Iterable[int] = (),
        prompts: list[list[int]] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sampling = sampling
        self.seeds = np.array([seed % 2**64 for seed in seeds], dtype=np.uint64)
        never = {i for i in banned if 0 <= i < width} | set(
            range(width if vocab_size is None else vocab_size, width)
        )
        if len(never) == width:
            raise ConfigError(f"all {width} tokens are banned; leave some to sample from")
        self.never = torch.tensor(sorted(never), dtype=torch.long, device=device)
        self.seen: Tensor | None = None
        if sampling.repetition_penalty != 1.0:
            self.seen = torch.zeros(len(seeds), width, dtype=torch.bool, device=device)
            for row, prompt in enumerate(prompts or []):
                self.seen[row, torch.tensor(prompt, dtype=torch.long, device=device)] = True

    def choose(self, logits: Tensor, step: int) -> Choice:
        """Choose from `logits` `[B, V]`, each row's `step`-th new token (from 0).

        `logprobs` are those of the model itself (all logits, temperature 1), `sampled_logprobs` those of the
        distribution that was sampled from (0 when greedy). Both are float32. Raises ExnihiloError where a
        logit is NaN or infinite.
        """
        raw = logits.float()
        normaliser = raw.logsumexp(dim=-1, keepdim=True)
        if not bool(normaliser.isfinite().all()):
            raise ExnihiloError(
                "the model's logits are not finite; its weights are broken: train or copy it again"
            )
        allowed = raw.index_fill(1, self.never, NEVER)
        shaped = shape_logits(allowed, self.sampling, self.seen)
        if self.sampling.temperature == 0.0:
            ids = shaped.argmax(dim=-1, keepdim=True)
            sampled = torch.zeros(len(ids), device=ids.device)
        else:
            ids, sampled = self._draw(shaped, step)
        if self.seen is not None:
            self.seen.scatter_(1, ids, True)
        return Choice(ids[:, 0], (raw.gather(1, ids) - normaliser)[:, 0], sampled)

    def _draw(self, shaped: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Invert the cumulative distribution at one uniform number per row: ids `[B, 1]`, log-probabilities.

        Overwrites `shaped`: fresh memory for `[B, V]` costs as much as the arithmetic.
        """
        weights = shaped.sub_(shaped.max(dim=-1, keepdim=True).values).exp_()
        cumulative = weights.cumsum(dim=-1)
        total = cumulative[:, -1:]
        draw = torch.from_numpy(uniforms(self.seeds, step)).to(total).unsqueeze(1)
        # Rounding must not push the point to the end, where the last token may have probability 0.
        point = torch.minimum(draw * total, torch.nextafter(total, torch.zeros_like(total)))
        ids = torch.searchsorted(cumulative, point, right=True)
        return ids, (weights.gather(1, ids) / weights.sum(dim=-1, keepdim=True)).log()[:, 0]

    def select(self, rows: Tensor) -> None:
        """Keep these rows only: row `i` becomes what row `rows[i]` was."""
        self.seeds = self.seeds[rows.cpu().numpy()]
        if self.seen is not None:
            self.seen = self.seen[rows]
