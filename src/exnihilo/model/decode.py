"""One more token for every row: the pass that generation spends its time in, with few calls and no new memory.

It is the mathematics of `cached_hidden` for one token a row. What it computes goes to buffers that are made once for a
number of rows, so that hardly anything is left beside products and attention.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model.blocked import Matrices, ShardedMatrix
from exnihilo.model.layers import RMSNorm


class OneTokenCache(Protocol):
    """What the step needs of a cache."""

    def positions(self, new: int) -> Tensor:
        """Positions `[rows, 1]` of the tokens about to be read."""
        ...

    def mix(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keep the new keys and values `[rows, kv_heads, D]`, and mix for the queries `[rows, kv_heads, G, D]`: G
        query heads to a key head. The result is of the queries' shape."""
        ...


class DecodeStep:
    """The forward pass over one token of each of `rows` rows, on a CPU and in the precision of the rotary table.

    All layouts but GPT-2's.
    """

    def __init__(self, matrices: Matrices, rows: int) -> None:
        self.matrices, self.rows = matrices, rows
        self.model = matrices.model
        config, empty = self.model.config, self.model.embedding.weight.new_empty
        first, size = matrices.blocks[0], config.head_dim
        turning = config.heads + config.kv_heads
        self._eps = empty(()).fill_(config.norm_eps)
        self._x, self._normal = empty(rows, config.width), empty(rows, config.width)
        self._scale = empty(rows, 1)
        # A product in shards is `[shards, rows, columns]`; `_heads` puts its rows together.
        self._heads = empty(rows, first.qkv.outputs)
        self._heads_shards = _in_shards(self._heads, first.qkv.count)
        self._qkv = self._heads_shards if first.qkv.count == 1 else _product(first.qkv, rows)
        heads = self._heads.view(rows, -1, size)
        self._head_scale = empty(rows, turning, 1)
        self._turning, self._values = heads[:, :turning], heads[:, turning:]
        self._still, self._turned = empty(rows, turning, size), empty(rows, turning, size)
        self._left, self._right = self._still.chunk(2, -1)
        self._turned_left, self._turned_right = self._turned.chunk(2, -1)
        self._queries = self._turned[:, : config.heads].view(rows, config.kv_heads, -1, size)
        self._keys = self._turned[:, config.heads :]
        self._out, self._out_sum = _product(first.out, rows), _in_shards(self._x, first.out.count)
        self._down, self._down_sum = _product(first.down, rows), _in_shards(self._x, first.down.count)
        # Gates and ups are in different shards, if there are several.
        count = first.gate_up.count
        self._gate_up, self._act = _product(first.gate_up, rows), empty(rows, config.hidden)
        self._gate, self._up = self._gate_up.chunk(2, dim=-1 if count == 1 else 0)
        self._act_shards = _in_shards(self._act, max(1, count // 2))

    def hidden(self, tokens: Tensor, cache: OneTokenCache) -> Tensor:
        """Final hidden states `[rows, width]` of ids `[rows]`; the next call overwrites them."""
        model, positions = self.model, cache.positions(1)
        cos, sin = F.embedding(positions, model.cos), F.embedding(positions, model.sin)
        whole = torch.cat((cos, cos), -1)
        torch.index_select(model.embedding.weight, 0, tokens, out=self._x)
        for layer, block in enumerate(self.matrices.blocks):
            self._normalise(block.attention_norm)
            block.qkv.times(self._normal, self._qkv)
            if block.qkv.count > 1:
                self._heads_shards.copy_(self._qkv)
            if block.qkv_bias is not None:
                self._heads.add_(block.qkv_bias)
            self._turn(block.head_scales, whole, cos, sin)
            mixed = cache.mix(layer, self._queries, self._keys, self._values)
            self._add(block.out, mixed.reshape(self.rows, -1), self._out, self._out_sum)
            self._normalise(block.feed_forward_norm)
            block.gate_up.times(self._normal, self._gate_up)
            torch.mul(F.silu(self._gate, inplace=True), self._up, out=self._act_shards)
            self._add(block.down, self._act, self._down, self._down_sum)
        assert isinstance(model.norm, RMSNorm)
        self._normalise(model.norm)
        return self._normal

    def _add(self, matrix: ShardedMatrix, x: Tensor, product: Tensor, sums: Tensor) -> None:
        """Add a product to the residual stream."""
        if matrix.count == 1:
            self._x.addmm_(x, matrix.shards[0])
        else:
            sums.add_(matrix.times(x, product))

    def _normalise(self, norm: RMSNorm) -> None:
        torch.linalg.vector_norm(self._x, dim=-1, keepdim=True, out=self._scale)
        _invert(self._scale, self._eps, self._x.shape[1])
        torch.mul(self._x, self._scale, out=self._normal).mul_(norm.weight)

    def _turn(self, scales: Tensor | None, whole: Tensor, cos: Tensor, sin: Tensor) -> None:
        """Normalise the query and key heads by `scales`, where there are any, and turn them by their positions."""
        if scales is None:
            self._still.copy_(self._turning)
        else:
            torch.linalg.vector_norm(self._turning, dim=-1, keepdim=True, out=self._head_scale)
            _invert(self._head_scale, self._eps, self._turning.shape[2])
            torch.mul(self._turning, self._head_scale, out=self._still).mul_(scales)
        torch.mul(self._still, whole, out=self._turned)
        self._turned_left.addcmul_(self._right, sin, value=-1)
        self._turned_right.addcmul_(self._left, sin)


def _invert(norm: Tensor, eps: Tensor, size: int) -> None:
    """From norms of `size` numbers to 1 / √(mean of their squares + eps), in place."""
    torch.addcmul(eps, norm, norm, value=1 / size, out=norm).rsqrt_()


def _product(matrix: ShardedMatrix, rows: int) -> Tensor:
    count, _, columns = matrix.shards.shape
    return matrix.shards.new_empty(count, rows, columns)


def _in_shards(x: Tensor, count: int) -> Tensor:
    """`[rows, N]` seen as `[count, rows, N / count]`."""
    return x.view(len(x), count, -1).transpose(0, 1)
