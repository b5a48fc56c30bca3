"""The model's matrices laid out for the products of generation: few rows times a large matrix.

A library multiplies many rows by first copying the matrix into blocks that suit its inner loop. With few rows that
copy costs more than the product. Here it is made once: columns of Wᵀ in blocks of about 512, each contiguous. For
8 rows that took half of the time of the plain product, for 32 rows 0.7 of it, for 256 rows the same (one core,
AVX-512, 512 × 1536, float32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.model.layers import Block

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder

# Numbers of rows for which the blocks are faster than the plain product: up to 3 that is a matrix-vector product,
# from some 200 on the copy no longer matters.
ROWS = range(4, 193)
BLOCK = 512


class BlockedMatrix:
    """`[N, K]` as `[blocks, K, columns]`, filled up with zeros to whole blocks."""

    def __init__(self, weight: Tensor) -> None:
        self.outputs, inputs = weight.shape
        count = max(1, round(self.outputs / BLOCK))
        columns = -(-self.outputs // (16 * count)) * 16
        filled = F.pad(weight, (0, 0, 0, count * columns - self.outputs))
        self.blocks = filled.view(count, columns, inputs).transpose(1, 2).contiguous()

    def times(self, x: Tensor) -> Tensor:
        """`x Wᵀ` `[M, N]` of `[M, K]`."""
        count, inputs, columns = self.blocks.shape
        out = x.new_empty(len(x), count * columns)
        # Each block writes its own columns: as a batch of products they would have to be copied together.
        torch.bmm(
            x.expand(count, len(x), inputs),
            self.blocks,
            out=out.view(len(x), count, columns).transpose(0, 1),
        )
        return out[:, : self.outputs]


class Products:
    """Multiplies by the model's matrices: the plain way, and in blocks once `block` has been called.

    Blocks are a copy: they hold the weights as they were.
    """

    def __init__(self, model: Decoder) -> None:
        self.model = model
        self._blocked: dict[nn.Module, BlockedMatrix] = {}

    def block(self) -> None:
        """Lay the matrices out in blocks; costs about as much as five products with 8 rows."""
        if self._blocked:
            return
        with torch.no_grad():
            for block in self.model.blocks:
                assert isinstance(block, Block)
                attention, feed_forward = block.attention, block.feed_forward
                for linear in (attention.qkv, attention.out, feed_forward.gate_up, feed_forward.down):
                    self._blocked[linear] = BlockedMatrix(linear.weight)
            self._blocked[self.model] = BlockedMatrix(self.model.head_weight)

    def linear(self, linear: nn.Module, x: Tensor) -> Tensor:
        """`linear(x)` of `[…, K]`."""
        rows = x.numel() // x.shape[-1]
        if rows not in ROWS or linear not in self._blocked or torch.is_autocast_enabled(x.device.type):
            out: Tensor = linear(x)
            return out
        return self._blocked[linear].times(x.reshape(rows, -1)).view(*x.shape[:-1], -1)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[B, vocab_size]` of hidden states `[B, width]`."""
        if (
            len(hidden) not in ROWS
            or self.model not in self._blocked
            or torch.is_autocast_enabled(hidden.device.type)
        ):
            return self.model.head(hidden)
        return self._blocked[self.model].times(hidden)
