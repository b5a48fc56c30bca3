"""Log-probabilities of given text, always from a float32 log-softmax, and what a reward model thinks of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from exnihilo.core.errors import ConfigError

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder
    from exnihilo.model.scorer import Scorer

# Logits held at once: 2**24 float32 are 64 MiB.
LOGITS_HELD = 2**24
# Tokens of one forward pass over continuations.
FORWARD_TOKENS = 16_384


def gather_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of `targets` `[…]` under `logits` `[…, V]`: float32 `[…]`, differentiable.

    The normaliser is summed in float32 whatever the type of the logits: bfloat16 keeps 8 bits of a sum.
    """
    logits = logits.float()
    return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


@torch.inference_mode()
def token_logprobs(
    model: Decoder, ids: Tensor, positions: Tensor | None = None, segments: Tensor | None = None
) -> Tensor:
    """Log-probability of `ids[:, t + 1]` after `ids[:, : t + 1]` in its segment: float32 `[B, T - 1]`.

    `ids`, and `positions` and `segments` of packed rows, are int64 `[B, T]`. Where a segment begins, the
    value is that of its first token after the last of the segment before, which nothing should be read from.
    """
    hidden = model.hidden(ids, positions, segments)[:, :-1].flatten(0, 1)
    targets = ids[:, 1:].reshape(-1)
    chunk = max(1, LOGITS_HELD // model.config.vocab_size)
    parts = [
        gather_logprobs(model.head(h), t)
        for h, t in zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True)
    ]
    flat = torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)
    return flat.view(ids.shape[0], -1)


def continuation_logprobs(
    model: Decoder, prompts: list[list[int]], continuations: list[list[int]]
) -> list[list[float]]:
    """Log-probability of each token of `continuations[i]` after `prompts[i]`.

    Raises ConfigError for an empty prompt (begin it with BOS) and for a pair longer than the model's context.
    """
    device = next(model.parameters()).device
    pairs = list(zip(prompts, continuations, strict=True))
    for row, (prompt, continuation) in enumerate(pairs):
        length = len(prompt) + len(continuation)
        if not prompt:
            raise ConfigError(
                f"prompt {row} is empty, so its first token has no probability; begin it with BOS"
            )
        if length > model.config.max_length:
            raise ConfigError(
                f"prompt {row} and its continuation have {length} tokens, "
                f"more than the model's context of {model.config.max_length}; shorten them"
            )
    results: list[list[float]] = [[] for _ in pairs]
    order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
    while order:
        length = sum(map(len, pairs[order[0]]))
        rows, order = order[: max(1, FORWARD_TOKENS // length)], order[max(1, FORWARD_TOKENS // length) :]
        # Padding stands on the right, where causal attention keeps it from every token that is read.
        padded = [(pairs[i][0] + pairs[i][1] + [0] * length)[:length] for i in rows]
        scores = token_logprobs(model, torch.tensor(padded, device=device)).tolist()
        for i, line in zip(rows, scores, strict=True):
            start = len(pairs[i][0]) - 1
            results[i] = line[start : start + len(pairs[i][1])]
    return results


@torch.inference_mode()
def answer_scores(model: Scorer, answers: Sequence[list[int]], pad: int, *, rows: int = 16) -> Tensor:
    """What a reward model thinks of each of `answers`, a prompt's ids and an answer's, at its last token: `[answers,
    aspects]`, as the model gives it."""
    order, device = sorted(range(len(answers)), key=lambda i: len(answers[i])), model.output.weight.device
    scores = torch.zeros(len(answers), len(model.output.weight))
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        ids = [answers[i] for i in part]
        longest = max(map(len, ids))
        tokens = torch.tensor([one + [pad] * (longest - len(one)) for one in ids], device=device)
        segments = torch.tensor([[0] * len(one) + [-1] * (longest - len(one)) for one in ids], device=device)
        positions = torch.arange(longest, device=device).expand(len(ids), longest).contiguous()
        ends = torch.tensor([[len(one) - 1] for one in ids], device=device)
        scores[part] = model.at(ends, tokens, positions, segments)[:, 0].float().cpu()
    return scores
