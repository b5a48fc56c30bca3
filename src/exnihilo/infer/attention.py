"""What the model attends to in a pass: one token for every row of the pool, or the unread tokens of some prompts.

Both are caches to the decoder (`model/cache.py`), made anew for each pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.infer.pool import Group, Prefix
from exnihilo.model.cache import causal_attention


class Decoding:
    """One new token of every row, in the order of the groups and of their slots: `[rows, 1]`."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._parts = [_GroupPart(group) for group in groups]
        self._starts = [0, *accumulate(len(group) for group in groups)]
        self._depth = groups[0].shape.depth
        positions = [part.positions for part in self._parts]
        self._positions = (torch.cat(positions) if len(positions) > 1 else positions[0])[:, None]

    @property
    def layers(self) -> list[_DecodingLayer]:
        """Made when asked for: kept here, they would name what names them, and the pool's memory would stay until
        Python looks for such circles (5.6 GB in the quickstart's evaluation)."""
        return [_DecodingLayer(self, layer) for layer in range(self._depth)]

    def positions(self, new: int) -> Tensor:
        """Positions `[rows, 1]`."""
        return self._positions

    def mix(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keep keys and values `[rows, kv_heads, D]`; mix `[rows, kv_heads, G, D]` for the queries of that shape.

        The G query heads of one key head stand in line as if they were tokens: grouped heads without a copy.
        """
        if len(self._parts) == 1:
            return self._parts[0].mix(layer, query, key, value)
        return torch.cat(
            [
                part.mix(layer, query[start:stop], key[start:stop], value[start:stop])
                for part, start, stop in zip(self._parts, self._starts, self._starts[1:], strict=False)
            ]
        )


@dataclass(frozen=True)
class _DecodingLayer:
    decoding: Decoding
    layer: int

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `CachedAttention`; T is 1."""
        rows, _, heads, size = query.shape
        kv_heads = key.shape[2]
        query = query.view(rows, kv_heads, heads // kv_heads, size)
        return self.decoding.mix(self.layer, query, key[:, 0], value[:, 0]).reshape(rows, 1, heads * size)


class _GroupPart:
    """A group in one pass: where each layer writes, and the views it reads."""

    def __init__(self, group: Group) -> None:
        rows, store = len(group), group.store
        lengths = torch.from_numpy(group.held).to(store.device)
        longest = int(group.held.max())
        even = int(group.held.min()) == longest
        self._shared = _Shared(group) if group.shares else None
        self.positions = lengths if self._shared is None else lengths + self._shared.before
        # Keys and values of each layer in turn.
        flat = store.flatten(0, 1)
        self._read = flat[:, :rows, :, : longest + 1].unbind(0)
        if even:
            self._write = flat[:, :rows, :, longest].unbind(0)
            self._mask = None
            return
        _, _, _, kv_heads, columns, size = store.shape
        self._write = flat.view(len(flat), -1, size).unbind(0)
        heads = torch.arange(rows * kv_heads, device=store.device).view(rows, kv_heads)
        self._index = (heads * columns + lengths[:, None]).flatten()
        later = torch.arange(longest + 1, device=store.device) > lengths[:, None]
        self._mask = torch.zeros(later.shape, dtype=store.dtype, device=store.device)
        self._mask = self._mask.masked_fill_(later, float("-inf"))[:, None, None]

    def mix(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `Decoding.mix`."""
        both = slice(2 * layer, 2 * layer + 2)
        for kept, new in zip(self._write[both], (key, value), strict=True):
            if self._mask is None:
                kept.copy_(new)
            else:
                kept.index_copy_(0, self._index, new.reshape(-1, new.shape[-1]).to(kept.dtype))
        keys, values = self._read[both]
        if self._shared is None:
            return F.scaled_dot_product_attention(query, keys, values, attn_mask=self._mask)
        query = query * query.shape[-1] ** -0.5
        scores = torch.matmul(query, keys.transpose(2, 3))
        if self._mask is not None:
            scores.add_(self._mask)
        weights, own_sum = _weights(scores)
        mixed = torch.matmul(weights, values)
        shared, shared_sum = self._shared.mix(layer, query)
        return torch.lerp(mixed, shared, torch.sigmoid(shared_sum - own_sum))


class _Shared:
    """What the rows of a group begin with, in one pass: a prefix is read once for all rows that come after it.

    The rows' own tokens are mixed by themselves; both are weighed by the sums of their exponentials (arXiv 2402.05099).
    """

    def __init__(self, group: Group) -> None:
        sharing, device = group.sharing, group.store.device
        counts = [len(slots) for _, slots in sharing]
        lengths = [len(prefix.tokens) for prefix, _ in sharing]
        order = [slot for _, slots in sharing for slot in slots]
        slots = torch.tensor(order, device=device)
        before = torch.tensor(lengths, device=device).repeat_interleave(torch.tensor(counts, device=device))
        self.before = torch.empty_like(before)  # tokens before those of each row, in the order of slots
        self.before[slots] = before
        self._order = None if order == sorted(order) else (slots, slots.argsort())
        ends = list(accumulate(counts))
        self._rows = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        self._lengths, self._longest = lengths, max(lengths)
        self._stores = [prefix.store.flatten(0, 1).unbind(0) for prefix, _ in sharing]

    def mix(self, layer: int, query: Tensor) -> tuple[Tensor, Tensor]:
        """The prefixes' values mixed for scaled queries `[R, K, G, D]`, and the logarithm `[R, K, G, 1]` of the scores'
        summed exponentials."""
        rows, kv_heads, group, size = query.shape
        if self._order is not None:
            query = query[self._order[0]]
        together = query.transpose(0, 1).reshape(kv_heads, rows, group * size)
        parts = [together[:, part].reshape(kv_heads, -1, size) for part in self._rows]
        if len(parts) == 1:
            scores = torch.bmm(parts[0], self._stores[0][2 * layer].transpose(1, 2))
        else:
            scores = query.new_full((kv_heads, rows * group, self._longest), float("-inf"))
            for part, place, store in zip(parts, self._places(scores, group), self._stores, strict=True):
                place.copy_(torch.bmm(part, store[2 * layer].transpose(1, 2)))
        weights, total = _weights(scores)
        mixed = [
            torch.bmm(place, store[2 * layer + 1])
            for place, store in zip(self._places(weights, group), self._stores, strict=True)
        ]
        out = mixed[0] if len(mixed) == 1 else torch.cat(mixed, 1)
        out = out.view(kv_heads, rows, group, size).transpose(0, 1)
        total = total.view(kv_heads, rows, group, 1).transpose(0, 1)
        if self._order is not None:
            out, total = out[self._order[1]], total[self._order[1]]
        return out, total

    def _places(self, scores: Tensor, group: int) -> list[Tensor]:
        """Of scores `[K, rows · G, longest]` those of each prefix."""
        return [
            scores[:, part.start * group : part.stop * group, :length]
            for part, length in zip(self._rows, self._lengths, strict=True)
        ]


def _weights(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax of scores `[…, n]`, and the logarithm `[…, 1]` of their summed exponentials."""
    weights = scores.softmax(-1)
    # log Σ exp(score) = score - log(weight) for any of them; the largest weight is at least 1/n.
    return weights, scores.amax(-1, keepdim=True) - weights.amax(-1, keepdim=True).log_()


@dataclass(eq=False)
class Span:
    """Tokens of one prompt that are to be read.

    Attributes:
        tokens: the ids, at least one.
        store: where their keys and values go: `[depth, 2, kv_heads, capacity, head_dim]`.
        held: tokens in the store already, right before these.
        prefix: what comes before all that is in the store.
    """

    tokens: list[int]
    store: Tensor
    held: int
    prefix: Prefix | None

    @property
    def position(self) -> int:
        """Position of the first of the tokens."""
        return self.held + (0 if self.prefix is None else len(self.prefix.tokens))


class Reading:
    """Unread tokens of several prompts, one after another without padding: `[1, N]`."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        runs = [list(run) for _, run in groupby(spans, key=_alike)]
        self.layers = [_ReadingLayer(runs, layer) for layer in range(len(spans[0].store))]

    def positions(self, new: int) -> Tensor:
        """Positions `[1, N]`."""
        device = self.spans[0].store.device
        ranges = [
            torch.arange(span.position, span.position + len(span.tokens), device=device)
            for span in self.spans
        ]
        return torch.cat(ranges)[None]


def _alike(span: Span) -> tuple[int, int]:
    """Equal for spans that one call of attention can read: they are equally long, and nothing comes before them."""
    first = span.held == 0 and span.prefix is None
    return len(span.tokens), 0 if first else id(span)


@dataclass(frozen=True)
class _ReadingLayer:
    runs: Sequence[list[Span]]  # neighbours that are read by one call
    layer: int

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See `CachedAttention`; B is 1."""
        mixed, start = [], 0
        for run in self.runs:
            stop = start + len(run) * len(run[0].tokens)
            # The tokens of each span: [spans, T, heads, D].
            parts = [x[0, start:stop].view(len(run), -1, *x.shape[2:]) for x in (query, key, value)]
            seen = [self._keep(run, kind, parts[1 + kind]) for kind in (0, 1)]
            mixed.append(causal_attention(parts[0], seen[0], seen[1]).flatten(0, 1)[None])
            start = stop
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed, 1)

    def _keep(self, run: list[Span], kind: int, new: Tensor) -> Tensor:
        """Keep keys or values `[spans, T, kv_heads, D]`; all that the spans attend to, `[spans, kv_heads, n, D]`."""
        new = new.transpose(1, 2)
        for span, tokens in zip(run, new, strict=True):
            span.store[self.layer, kind, :, span.held : span.held + tokens.shape[1]] = tokens
        span = run[0]
        if len(run) > 1:
            return new
        held = span.store[self.layer, kind, :, : span.held + new.shape[2]]
        if span.prefix is not None:
            held = torch.cat((span.prefix.store[self.layer, kind], held), 1)
        return held[None]
