"""Causal attention by tiles, for training on a CPU: products of the whole batch at once, nothing above the diagonal.

PyTorch's kernel keeps no probabilities and computes them again for the gradient. On a CPU products take longest and
memory is plenty, so here they are kept. One layer, forward and backward, took 10.3 instead of 17.7 ms (two cores,
float32, 64 heads of 64 over 256 tokens), 36 instead of 66 (512 tokens), 1.3 instead of 1.7 (192 heads, 32 tokens).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model.segments import Regrouping

KEPT_UP_TO = 1024
"""Tokens up to which a segment's probabilities are kept. With heads of 64 those of 1,024 tokens are as large as nine
activations of the model's width; a layer then takes 23 instead of 27.5 ms (12 heads), and PyTorch's kernel 29."""


def causal_attention(heads: Tensor, queries: int, segments: Regrouping | None) -> Tensor:
    """What each token attends to, `[B, T, J, D]`: itself and what comes before it in its segment.

    `heads` `[J + 2K, B, T, D]` are J = `queries` query heads, K key heads and K value heads, one of which J / K query
    heads share (arXiv 2305.13245). Scores are not scaled: the queries are. Without `segments` each row is one segment.
    """
    with torch.autocast(heads.device.type, enabled=False):
        if heads.device.type != "cpu":
            return by_kernel(heads, queries, segments)
        out: Tensor = _CausalAttention.apply(heads, queries, segments)  # type: ignore[no-untyped-call]
    return out


def by_kernel(heads: Tensor, queries: int, segments: Regrouping | None) -> Tensor:
    """The same by PyTorch's kernel, which on a GPU keeps what it needs in its fast memory."""
    count, batch, length, dim = heads.shape
    slots = heads.reshape(-1, dim) if segments is None else segments.spread(heads.reshape(count, -1, dim))
    blocks = [heads] if segments is None else segments.blocks(slots, count)
    keys = (count - queries) // 2
    outs = []
    for block in blocks:
        query, key, value = torch.split(block.transpose(0, 1), [queries, keys, keys], dim=1)
        out = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=1.0, enable_gqa=keys != queries
        )
        outs.append(out.transpose(0, 1).reshape(-1, dim))
    if segments is None:
        return outs[0].view(queries, batch, length, dim).permute(1, 2, 0, 3)
    places = segments.places_by_token(queries)
    return torch.cat(outs).index_select(0, places).view(batch, length, queries, dim)


class _CausalAttention(torch.autograd.Function):
    # Work is done in blocks [heads, segments, length, D], each of segments of one length.
    @staticmethod
    def forward(ctx: Any, heads: Tensor, queries: int, segments: Regrouping | None) -> Tensor:
        count, batch, length, dim = heads.shape
        if segments is None:
            given = heads.contiguous()
            mixed = heads.new_empty(batch, length, queries, dim)
            blocks, outs = [given], [mixed.permute(2, 0, 1, 3)]
        else:
            given = segments.spread(heads.reshape(count, -1, dim))
            spread = given.new_empty(queries * len(segments.slots), dim)
            blocks, outs = segments.blocks(given, count), segments.blocks(spread, queries)
        kept: list[Tensor] = []
        for block, out in zip(blocks, outs, strict=True):
            query, key, value = _parts(block, queries)
            for start, end in tiles(block.shape[2]):
                shares = _shares(query, key, start, end)
                tile = out[:, :, start:end]
                tile.copy_(torch.bmm(shares, value[:, :end]).view(tile.shape))
                if ctx.needs_input_grad[0] and block.shape[2] <= KEPT_UP_TO:
                    kept.append(shares)
        if segments is not None:
            places = segments.places_by_token(queries)
            mixed = spread.index_select(0, places).view(batch, length, queries, dim)
        ctx.save_for_backward(given, mixed, *kept)
        ctx.count, ctx.segments = count, segments
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        given, mixed, *kept = ctx.saved_tensors
        segments: Regrouping | None = ctx.segments
        batch, length, queries, dim = mixed.shape
        # Σ share · ∂share of each row, which the gradient of its scores is centred by, is ∂out · out.
        centre = (gradient * mixed).sum(-1, keepdim=True)
        grad = torch.empty_like(given)
        if segments is None:
            blocks, grads = [given], [grad]
            upstreams, centres = ([x.permute(2, 0, 1, 3).contiguous()] for x in (gradient, centre))
        else:
            blocks, grads = segments.blocks(given, ctx.count), segments.blocks(grad, ctx.count)
            upstreams, centres = (
                segments.blocks(_spread_by_token(x, segments), queries) for x in (gradient, centre)
            )
        for block, out, upstream, means in zip(blocks, grads, upstreams, centres, strict=True):
            count = len(tiles(block.shape[2])) if block.shape[2] <= KEPT_UP_TO else 0
            _mix_gradient(block, out, upstream.flatten(0, 1), means.flatten(0, 1), kept[:count])
            del kept[:count]
        if segments is not None:
            grad = segments.gather(grad, ctx.count)
        return grad.view(ctx.count, batch, length, dim), None, None


def _mix_gradient(block: Tensor, grad: Tensor, upstream: Tensor, centre: Tensor, kept: list[Tensor]) -> None:
    """Write the gradient of a block to `grad`; `upstream` `[J · segments, T, D]` is that of what was mixed."""
    queries = len(upstream) // block.shape[1]
    query, key, value = _parts(block, queries)
    grad_query = grad[:queries].flatten(0, 1)
    grad_key, grad_value = grad[queries:].chunk(2)
    shared = queries // len(grad_key)
    # The last tile reaches all keys, so it comes first: the others add to what it found.
    by_key, by_value = (
        (torch.empty_like(key), torch.empty_like(value))
        if shared > 1
        else (grad_key.flatten(0, 1), grad_value.flatten(0, 1))
    )
    parts = tiles(block.shape[2])
    for number, (start, end) in reversed(list(enumerate(parts))):
        shares = kept[number] if kept else _shares(query, key, start, end)
        here = upstream[:, start:end]
        scores = torch.bmm(here, value[:, :end].transpose(1, 2))
        scores.sub_(centre[:, start:end]).mul_(shares)
        grad_query[:, start:end] = torch.bmm(scores, key[:, :end])
        if end == parts[-1][1]:
            torch.bmm(scores.transpose(1, 2), query[:, start:end], out=by_key)
            torch.bmm(shares.transpose(1, 2), here, out=by_value)
        else:
            by_key[:, :end] += torch.bmm(scores.transpose(1, 2), query[:, start:end])
            by_value[:, :end] += torch.bmm(shares.transpose(1, 2), here)
    if shared > 1:
        torch.sum(by_key.view(-1, shared, *block.shape[1:]), 1, out=grad_key)
        torch.sum(by_value.view(-1, shared, *block.shape[1:]), 1, out=grad_value)


def _spread_by_token(x: Tensor, segments: Regrouping) -> Tensor:
    """`[B, T, J, E]` as slots `[J · S, E]` with nothing in filler, from which nothing flows back."""
    rows = x.reshape(-1, x.shape[-1])
    slots = rows.new_zeros(x.shape[2] * len(segments.slots), x.shape[-1])
    return slots.index_copy_(0, segments.places_by_token(x.shape[2]), rows)


def _parts(block: Tensor, queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `[J · segments, T, D]`; keys and values are repeated where queries share them."""
    shared = queries * 2 // (len(block) - queries)
    query, key, value = torch.split(block, [queries, *[(len(block) - queries) // 2] * 2])
    if shared > 1:
        key, value = (x.repeat_interleave(shared, 0) for x in (key, value))
    return query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)


def tiles(length: int) -> list[tuple[int, int]]:
    """Where the queries of each tile start and end: the smaller, the less is computed above the diagonal."""
    size = 64 if length <= 256 else 128
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _shares(query: Tensor, key: Tensor, start: int, end: int) -> Tensor:
    """Softmax of the scores of queries `start` to `end` with the keys before `end`, `[J · segments, tile, end]`."""
    scores = torch.bmm(query[:, start:end], key[:, :end].transpose(1, 2))
    scores[:, :, start:].add_(query.new_full((end - start, end - start), -torch.inf).triu_(1))
    return torch.softmax(scores, -1)
