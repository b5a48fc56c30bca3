"""Cross-entropy of a linear head, in chunks of positions: the logits of a batch never exist as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 512
"""Positions at once: their logits over some thousand ids stay in a core's cache. With 2,048 positions, width 192 and
2,048 ids, loss and gradient took 17.5 instead of 26 ms in float32 and 8.3 instead of 18 ms in bfloat16 (two cores;
256 and 1,024 were no better)."""
SHAPES = 64
"""The last chunk is filled up to a multiple of so many positions: matrix libraries keep code and buffers for each
shape they meet, and a count that differs at every step cost 1 GB of them in 200 bfloat16 steps. Where there is one
chunk alone, batches and buffers are small, and it stays as it is."""


def linear_cross_entropy(
    hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """`Σ weightᵢ · -log p(targetᵢ)`, and `-log p(targetᵢ)` in nats without a gradient, `[n]`.

    Logits are `hidden headᵀ`, of hidden states `[n, width]` and a head `[V, width]`; `targets` and `weights` are `[n]`.
    Where a weight is 0 the head does not run, and the second result is 0. The gradient is computed with the loss,
    in one pass over each chunk's logits, which are then gone. Under autocast products are in its dtype; everything
    else is in float32 (or float64, where the hidden states are).
    """
    hidden, head = wanting_gradients(hidden, head)
    total, losses = _LinearCrossEntropy.apply(hidden, head, targets, weights)  # type: ignore[no-untyped-call]
    return total, losses


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        losses = torch.zeros(weights.shape, dtype=hidden.dtype, device=hidden.device)
        to_hidden = torch.zeros_like(hidden) if ctx.needs_input_grad[0] else None
        to_head: Tensor | None = None
        kept = weights.nonzero()[:, 0]
        with torch.autocast(kind, enabled=False):
            matrix = head.to(dtype)
            for begin, end, filler in chunks(len(kept)):
                chosen = kept[begin:end]
                states = hidden[chosen].to(dtype)
                states = F.pad(states, (0, 0, 0, filler)) if filler else states
                target = F.pad(targets[chosen], (0, filler))[:, None]
                logits = F.linear(states, matrix)
                shares = F.softmax(logits, dim=-1, dtype=torch.promote_types(dtype, hidden.dtype))
                losses[chosen] = _surprise(shares, logits, target)[: len(chosen)]
                if to_hidden is None and not ctx.needs_input_grad[1]:
                    continue
                # d loss / d logits = weight · (softmax - one-hot); the weight goes to what is smaller.
                slope = shares.scatter_add_(1, target, shares.new_full(target.shape, -1.0)).to(dtype)
                weight = F.pad(weights[chosen], (0, filler))[:, None].to(dtype)
                if to_hidden is not None:
                    to_hidden[chosen] = (slope @ matrix).mul_(weight)[: len(chosen)].to(hidden.dtype)
                if ctx.needs_input_grad[1]:
                    to_head = add_product(to_head, slope.T, states * weight, head.dtype)
            if to_head is None and ctx.needs_input_grad[1]:
                to_head = torch.zeros_like(head)
        ctx.save_for_backward(to_hidden, to_head)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        to_hidden, to_head = ctx.saved_tensors
        # With a large vocabulary it is worth looking whether there is anything to multiply by.
        if gradient.device.type != "cpu" or gradient.item() != 1.0:
            to_hidden = None if to_hidden is None else to_hidden * gradient
            to_head = None if to_head is None else to_head * gradient
        return to_hidden, to_head, None, None


def wanting_gradients(hidden: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
    """Both as they are, or detached where no graph is built: a function is told that its inputs need gradients there,
    too, and with `torch.no_grad` would compute them for nobody."""
    return (hidden, head) if torch.is_grad_enabled() else (hidden.detach(), head.detach())


def chunks(positions: int) -> Iterator[tuple[int, int, int]]:
    """Beginning and end of each chunk of so many positions, and by how many it is filled up."""
    for begin in range(0, positions, CHUNK):
        end = min(begin + CHUNK, positions)
        yield begin, end, -(end - begin) % SHAPES if positions > CHUNK else 0


def _surprise(shares: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """-log softmax of the logits `[n, V]` at each `target` `[n, 1]`, given the softmax: exact also where that is 0."""
    share = shares.gather(1, target)[:, 0]
    losses = -share.log()
    small = (share < torch.finfo(share.dtype).tiny / torch.finfo(share.dtype).eps).nonzero()[:, 0]
    if len(small):
        logprobs = F.log_softmax(logits[small], dim=-1, dtype=shares.dtype)
        losses[small] = -logprobs.gather(1, target[small])[:, 0]
    return losses


def add_product(total: Tensor | None, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """`total + left right` in `dtype`, in the memory of `total`; None is nothing."""
    if total is None:
        return (left @ right).to(dtype)
    if left.dtype == dtype:
        return torch.addmm(total, left, right, out=total)
    return total.add_(left @ right)
