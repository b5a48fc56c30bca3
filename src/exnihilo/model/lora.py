"""Low-rank adapters of one linear layer: LoRA (arXiv 2106.09685) and DoRA (arXiv 2402.09353)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Adapter(nn.Module):
    """The trained part of one projection: `A` `[rank, in]`, `B` `[out, rank]` and, in DoRA, `magnitude` `[out]`.

    The projection's matrix is `V = W + scale·BA`; in DoRA each of its rows is brought to the length in `magnitude`,
    and the length that it had is a constant to the gradient (section 4.3 of the paper; it saves memory and changes
    results little).
    """

    def __init__(self, a: Tensor, b: Tensor, scale: float, magnitude: Tensor | None = None) -> None:
        super().__init__()
        self.A = nn.Parameter(a)
        self.B = nn.Parameter(b)
        self.magnitude = None if magnitude is None else nn.Parameter(magnitude)
        self.scale = scale

    @staticmethod
    def new(weight: Tensor, rank: int, scale: float, *, dora: bool, generator: torch.Generator) -> Adapter:
        """An adapter that changes nothing yet: A is drawn as `nn.Linear` draws its weights, B is zero, and the
        magnitudes are the lengths of the rows of `weight` `[out, in]`. The generator is one of the CPU."""
        a = torch.empty(rank, weight.shape[1])
        nn.init.kaiming_uniform_(a, a=5**0.5, generator=generator)
        return Adapter(
            a.to(weight),
            weight.new_zeros(weight.shape[0], rank),
            scale,
            row_lengths(weight.detach()) if dora else None,
        )

    @property
    def rank(self) -> int:
        """Rows of A."""
        return self.A.shape[0]

    def apply_to(self, weight: Tensor) -> Tensor:
        """The matrix `[out, in]` that the projection multiplies with, differentiable in the adapter."""
        # Under autocast BA would be a bfloat16 product, and the sum off by more than the adapter's last bits.
        with torch.autocast(weight.device.type, enabled=False):
            sum_ = torch.addmm(weight, self.B, self.A, alpha=self.scale)
            return sum_ if self.magnitude is None else self._factors(sum_)[:, None] * sum_

    def row_factors(self, weight: Tensor) -> Tensor:
        """What DoRA multiplies each output with, `[out]`; ones in LoRA."""
        if self.magnitude is None:
            return weight.new_ones(weight.shape[0])
        with torch.autocast(weight.device.type, enabled=False):
            with torch.no_grad():
                sum_ = torch.addmm(weight, self.B, self.A, alpha=self.scale)
            return self._factors(sum_)

    def _factors(self, sum_: Tensor) -> Tensor:
        assert self.magnitude is not None
        return self.magnitude / row_lengths(sum_.detach())


def row_lengths(weight: Tensor) -> Tensor:
    """Euclidean length of each row of `[out, in]`; a row of zeros gets the smallest number above 0, not to divide by
    zero."""
    lengths: Tensor = torch.linalg.vector_norm(weight, dim=1)
    return lengths.clamp(min=torch.finfo(weight.dtype).tiny)


class LoraLinear(nn.Module):
    """A linear layer whose weights stay as they are, with adapters on the projections that lie in its matrix.

    `rows` says how many rows each projection has, in order: `{"gate_proj": 96, "up_proj": 96}` for a fused matrix of
    192 rows. Projections without an adapter stay as they are.

    Attributes:
        enabled: without it the layer is the one it was.
        merged: the matrix with the adapters added, where `merge` has made it; the layer then multiplies once, and is as
            fast as a plain one. The base's own weights are never written to, so that `unmerge` is exact to the bit.
    """

    def __init__(
        self,
        base: nn.Linear,
        rows: Mapping[str, int],
        adapters: Mapping[str, Adapter],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rows = dict(rows)
        self.adapters = nn.ModuleDict({name: adapters[name] for name in rows if name in adapters})
        self.dropout = dropout
        self.enabled = True
        self.merged: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """The matrix `[out, in]` that the layer multiplies with, differentiable in the adapters.

        For code that takes a layer's matrix instead of calling the layer (a loss over the vocabulary in chunks).
        """
        if not self.enabled:
            return self.base.weight
        return self._sum() if self.merged is None else self.merged

    @torch.no_grad()
    def merge(self) -> None:
        """Multiply with one matrix from now on. Training goes on after `unmerge` only."""
        self.merged = self._sum()

    def unmerge(self) -> None:
        """Take the adapters out of the matrix again."""
        self.merged = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled or self.merged is not None:
            return F.linear(x, self.weight, self.base.bias)
        flat = x.flatten(0, -2)
        out = self._add_low_rank(F.linear(flat, self.base.weight), flat)
        if any(adapter.magnitude is not None for adapter in self._adapters().values()):
            out = (out * self._row_factors()).to(out.dtype)
        out = out if self.base.bias is None else out + self.base.bias
        return out.view(*x.shape[:-1], -1)

    def _add_low_rank(self, out: Tensor, x: Tensor) -> Tensor:
        """`out + x Aᵀ Bᵀ`, in place, all projections at once: the As below each other, the scaled Bs along a
        diagonal."""
        adapters = self._adapters()
        if self.dropout and self.training:
            parts = [F.linear(F.dropout(x, self.dropout), one.A) for one in adapters.values()]
            narrow = torch.cat(parts, dim=-1)
        else:
            narrow = F.linear(x, torch.cat([one.A for one in adapters.values()]))
        blocks = [
            adapters[name].scale * adapters[name].B
            if name in adapters
            else self.base.weight.new_empty(rows, 0)
            for name, rows in self.rows.items()
        ]
        wide: Tensor = blocks[0]
        if len(blocks) > 1:
            wide = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        return out.addmm_(narrow, wide.to(narrow.dtype).T)

    def _row_factors(self) -> Tensor:
        return torch.cat(
            [
                part.new_ones(len(part)) if adapter is None else adapter.row_factors(part)
                for part, adapter in self._parts()
            ]
        )

    def _sum(self) -> Tensor:
        return torch.cat(
            [part if adapter is None else adapter.apply_to(part) for part, adapter in self._parts()]
        )

    def _parts(self) -> list[tuple[Tensor, Adapter | None]]:
        """Each projection's rows of the base's matrix, and its adapter."""
        adapters = self._adapters()
        parts = torch.split(self.base.weight, list(self.rows.values()))
        return [(part, adapters.get(name)) for name, part in zip(self.rows, parts, strict=True)]

    def _adapters(self) -> dict[str, Adapter]:
        return {name: one for name, one in self.adapters.items() if isinstance(one, Adapter)}
