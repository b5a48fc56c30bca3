"""Log-probabilities of targets by a linear head, in chunks of positions: of a batch's logits no more is kept than their
gradient needs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.objectives.linear_cross_entropy import add_product, chunks, wanting_gradients


def linear_logprobs(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """`log p(targetᵢ)` `[n]`, in nats.

    Logits are `hidden headᵀ`, of hidden states `[n, width]` and a head `[V, width]`; `targets` are `[n]`. Where a
    gradient is wanted, `one-hot - softmax` is kept, `[n, V]`, and nothing else of that size. Under autocast products
    are in its dtype; everything else is in float32 (or float64, where the hidden states are): in bfloat16 the
    log-probabilities of a long answer would be off by whole nats.
    """
    return _apply(hidden, head, targets, False)[0]


def linear_logprobs_entropy(hidden: Tensor, head: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`linear_logprobs`, and the entropy of each position's distribution without a gradient, both `[n]`."""
    return _apply(hidden, head, targets, True)


def _apply(hidden: Tensor, head: Tensor, targets: Tensor, entropy: bool) -> tuple[Tensor, Tensor]:
    hidden, head = wanting_gradients(hidden, head)
    chosen, entropies = _LinearLogprobs.apply(hidden, head, targets, entropy)  # type: ignore[no-untyped-call]
    return chosen, entropies


class _LinearLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, entropies: bool
    ) -> tuple[Tensor, Tensor]:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        wide = torch.promote_types(hidden.dtype, torch.float32)
        chosen = torch.empty(targets.shape, dtype=wide, device=hidden.device)
        entropy = torch.empty_like(chosen) if entropies else chosen.new_empty(0)
        slopes, learned = [], any(ctx.needs_input_grad[:2])
        with torch.autocast(kind, enabled=False):
            matrix = head.to(dtype)
            for begin, end, filler in chunks(len(targets)):
                states = F.pad(hidden[begin:end].to(dtype), (0, 0, 0, filler))
                target = F.pad(targets[begin:end], (0, filler))[:, None]
                logprobs = F.log_softmax(F.linear(states, matrix), dim=-1, dtype=wide)
                chosen[begin:end] = logprobs.gather(1, target)[: end - begin, 0]
                if not entropies and not learned:
                    continue
                shares = logprobs.exp()
                if entropies:
                    entropy[begin:end] = -torch.einsum("nv,nv->n", shares, logprobs)[: end - begin]
                if learned:
                    # d log p(target) / d logits
                    slopes.append(
                        shares.neg_().scatter_add_(1, target, torch.ones_like(target, dtype=wide)).to(dtype)
                    )
        ctx.save_for_backward(hidden, head, *slopes)
        ctx.mark_non_differentiable(entropy)
        return chosen, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, head, *slopes = ctx.saved_tensors
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_head: Tensor | None = None
        matrix = head.to(slopes[0].dtype) if slopes else head
        for (begin, end, filler), slope in zip(chunks(len(hidden)), slopes, strict=True):
            weight = F.pad(gradient[begin:end], (0, filler))[:, None].to(slope.dtype)
            if to_hidden is not None:
                to_hidden[begin:end] = (slope @ matrix).mul_(weight)[: end - begin].to(hidden.dtype)
            if ctx.needs_input_grad[1]:
                states = F.pad(hidden[begin:end].to(slope.dtype), (0, 0, 0, filler))
                to_head = add_product(to_head, slope.T, states * weight, head.dtype)
        if to_head is None and ctx.needs_input_grad[1]:
            to_head = torch.zeros_like(head)
        return to_hidden, to_head, None, None
