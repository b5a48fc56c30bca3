"""The model's matrices laid out for the products of generation: few rows times a large matrix.

A library that multiplies few rows on two cores makes poor use of the second. Here each core has a shard of its own:
Wᵀ by columns, each shard contiguous, multiplied as a batch of independent products. All products of a step with 30M
parameters, in float32 on two cores with AVX-512 (milliseconds):

    rows             1     4     8    16    24    32    48    64
    `F.linear`    2.1   3.7   5.1   8.3          10.5          13.3
    Wᵀ whole      2.1   2.5   2.8   3.9   6.3   7.5   9.9  12.2
    Wᵀ in shards  2.0   2.4   2.6   3.5   4.5   5.3   7.2   9.0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from exnihilo.model.gpt2 import GPT2Block
from exnihilo.model.layers import Block, RMSNorm, SwiGLU
from exnihilo.model.lora import LoraLinear
from exnihilo.model.memory import zeros

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder

# Numbers of rows for which the shards are faster than the plain product: up to 3 that is a matrix-vector product, and
# from some 200 on it uses all cores.
ROWS = range(4, 193)
# Rows of W that are transposed at a time, 20 instead of 60 ms for 30M parameters.
TILE = 256


class ShardedMatrix:
    """A matrix `[N, K]` as `shards` `[count, K, N / count]`: its transpose by columns."""

    def __init__(self, shards: Tensor) -> None:
        self.shards = shards
        self.count, _, columns = shards.shape
        self.outputs = self.count * columns

    @staticmethod
    def plain(weight: Tensor) -> ShardedMatrix:
        """The matrix as it is: one shard, without a copy."""
        return ShardedMatrix(weight.t()[None])

    @staticmethod
    def laid_out(weight: Tensor, count: int, memory: Tensor) -> ShardedMatrix:
        """A copy in `count` shards, or in one where it can't be divided into so many equal ones.

        It goes to `memory`, which has as many numbers.
        """
        outputs, inputs = weight.shape
        # An even number, or gates and ups (`DecodeStep`) would not be in different shards.
        count = 1 if count % 2 or outputs % count else count
        shards = memory.view(count, inputs, outputs // count)
        turned = weight.reshape(count, -1, inputs).transpose(1, 2)
        for start in range(0, shards.shape[2], TILE):
            shards[:, :, start : start + TILE] = turned[:, :, start : start + TILE]
        return ShardedMatrix(shards)

    def times(self, x: Tensor, out: Tensor) -> Tensor:
        """`x Wᵀ` of `[M, K]` into `out` `[count, M, N / count]`."""
        if self.count == 1:
            torch.mm(x, self.shards[0], out=out[0])
        else:
            torch.bmm(x.expand(self.count, *x.shape), self.shards, out=out)
        return out

    def product(self, x: Tensor) -> Tensor:
        """`x Wᵀ` `[M, N]` of `[M, K]`."""
        out = self.times(x, x.new_empty(self.count, len(x), self.outputs // self.count))
        return out.transpose(0, 1).reshape(len(x), self.outputs)


@dataclass(frozen=True)
class BlockMatrices:
    """What a step multiplies with in one block, and the scales of its norms.

    `head_scales` `[heads + kv_heads, D]` are those of the query and the key heads, and `qkv_bias` what is added to all
    of them; None where the layout has none.
    """

    qkv: ShardedMatrix
    out: ShardedMatrix
    gate_up: ShardedMatrix
    down: ShardedMatrix
    attention_norm: RMSNorm
    feed_forward_norm: RMSNorm
    head_scales: Tensor | None
    qkv_bias: Tensor | None


class Matrices:
    """All matrices of a model: as they are, or in shards. Shards are a copy: they hold the weights as they were."""

    @torch.no_grad()
    def __init__(self, model: Decoder, shards: int | None = None) -> None:
        self.model, self.laid_out = model, shards is not None
        weights: dict[nn.Module, Tensor] = {
            linear: linear.weight for block in model.blocks for linear in _linears(block)
        }
        weights[model] = model.head_weight
        if shards is None:
            self._of = {layer: ShardedMatrix.plain(weight) for layer, weight in weights.items()}
        else:
            self._of = _lay_out(weights, shards)
        self.blocks = [self._block(block) for block in model.blocks if isinstance(block, Block)]
        """Those of `DecodeStep`, which knows no GPT-2."""

    def _block(self, block: Block) -> BlockMatrices:
        attention, feed_forward = block.attention, block.feed_forward
        scales = None
        if attention.query_norm is not None and attention.key_norm is not None:
            queries = attention.query_norm.weight.expand(attention.heads, -1)
            scales = torch.cat((queries, attention.key_norm.weight.expand(attention.kv_heads, -1)))
        return BlockMatrices(
            qkv=self._of[attention.qkv],
            out=self._of[attention.out],
            gate_up=self._of[feed_forward.gate_up],
            down=self._of[feed_forward.down],
            attention_norm=block.attention_norm,
            feed_forward_norm=block.feed_forward_norm,
            head_scales=scales,
            qkv_bias=_bias(attention.qkv),
        )

    def linear(self, linear: nn.Module, x: Tensor) -> Tensor:
        """`linear(x)` of `[…, K]`."""
        rows = x.numel() // x.shape[-1]
        if not self._pays(rows, x):
            out: Tensor = linear(x)
            return out
        product = self._of[linear].product(x.reshape(rows, -1)).view(*x.shape[:-1], -1)
        bias = _bias(linear)
        return product if bias is None else product.add_(bias)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[B, vocab_size]` of hidden states `[B, width]`."""
        if not self._pays(len(hidden), hidden):
            return self.model.head(hidden)
        return self._of[self.model].product(hidden)

    def _pays(self, rows: int, x: Tensor) -> bool:
        return self.laid_out and rows in ROWS and not torch.is_autocast_enabled(x.device.type)


def _linears(block: nn.Module) -> tuple[nn.Linear, ...]:
    assert isinstance(block, Block | GPT2Block)
    feed_forward = block.feed_forward
    first = feed_forward.gate_up if isinstance(feed_forward, SwiGLU) else feed_forward.up
    return block.attention.qkv, block.attention.out, first, feed_forward.down


def _bias(linear: nn.Module) -> Tensor | None:
    """The bias of a linear layer, one with adapters included."""
    base = linear.base if isinstance(linear, LoraLinear) else linear
    assert isinstance(base, nn.Linear)
    return base.bias


def _lay_out(weights: dict[nn.Module, Tensor], shards: int) -> dict[nn.Module, ShardedMatrix]:
    sizes = [weight.numel() for weight in weights.values()]
    first = next(iter(weights.values()))
    # In one piece: in a piece for each matrix, a third of them would not be in large pages.
    memory = zeros([sum(sizes)], first.dtype, first.device)
    return {
        layer: ShardedMatrix.laid_out(weight, shards, part)
        for (layer, weight), part in zip(weights.items(), torch.split(memory, sizes), strict=True)
    }
