"""Muon: momentum whose update is orthogonalised, for the weight matrices inside a network."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic a·σ + b·σ³ + c·σ⁵ by which one iteration maps singular values, steep at 0 so that five
# iterations bring all of [0.01, 1] into about [0.7, 1.2].
A, B, C = 3.4445, -4.7750, 2.0315
EPS = 1e-7
# From this ratio of sides on, iterating on the small Gram matrix is cheaper than on the matrix itself.
# Measured on two cores, six matrices: 192 x 576 9 instead of 13 ms, 192 x 1024 13 instead of 20 ms.
GRAM_RATIO = 1.5
# Errors of the Gram matrix grow with the slope of the accumulated polynomial (about 1e7 over five iterations,
# 2e2 over three), so it is taken anew after at most this many; in float32 the result is then as exact as
# without.
GRAM_ITERATIONS = 3


def orthogonalise(matrices: Tensor, steps: int) -> Tensor:
    """Newton–Schulz iteration towards `U Vᵀ` for each of `matrices` `[n, rows, columns]`, rows ≤ columns.

    Batched, and in the precision given: float32 agrees with float64 to about 1e-5. Zero matrices stay zero.
    Source: Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    """
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    x: Tensor = matrices / norms.clamp(min=EPS)
    # In bfloat16 the Gram matrix's own rounding errors would be multiplied.
    if x.dtype == torch.bfloat16 or x.shape[2] < GRAM_RATIO * x.shape[1]:
        for _ in range(steps):
            gram = torch.bmm(x, x.mT)
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
        return x
    runs = math.ceil(steps / GRAM_ITERATIONS)
    for run in range(runs):
        x = _iterate_on_gram(x, steps * (run + 1) // runs - steps * run // runs)
    return x


def _iterate_on_gram(x: Tensor, steps: int) -> Tensor:
    """The same iterations on `x xᵀ`: every iterate is a polynomial of it times `x`, and polynomials
    commute."""
    gram = torch.bmm(x, x.mT)
    product: Tensor | None = None
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        factor.diagonal(dim1=1, dim2=2).add_(A)
        product = factor if product is None else torch.bmm(factor, product)
        if step < steps - 1:
            gram = torch.bmm(factor, torch.bmm(gram, factor))
    return x if product is None else torch.bmm(product, x)


class Muon(torch.optim.Optimizer):
    """`M ← μM + (1-μ)G`, `W ← (1 - lr·decay)W - lr·√max(1, rows/columns)·orthogonalise(M or its look-ahead)`.

    The same update as `torch.optim.Muon`, iterated in `dtype` (float32: the parameters' precision) and with all
    matrices of one shape (transposed to be wide) orthogonalised in one batch. A parameter with an attribute
    `blocks = k` is orthogonalised as k equal blocks of rows; without one, fused projections are one matrix,
    which is also the cheaper way (a 576 x 192 query-key-value matrix costs 9 ms where its three squares cost
    16).

    Raises:
        ValueError: a parameter is no matrix, or its rows are not divisible by its blocks.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "ns_steps": ns_steps,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2 or parameter.shape[0] % _blocks(parameter):
                    shape = tuple(parameter.shape)
                    raise ValueError(f"Muon trains matrices, not {shape} in {_blocks(parameter)} blocks")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            buckets: dict[tuple[int, int], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    buckets.setdefault(_wide_shape(parameter), []).append(parameter)
            for shape, parameters in buckets.items():
                self._update(parameters, shape, group)

    def _update(self, parameters: list[Tensor], shape: tuple[int, int], group: dict[str, Any]) -> None:
        first = parameters[0]
        stack = torch.empty(
            (sum(_blocks(p) for p in parameters), *shape),
            dtype=first.dtype if self.dtype == torch.float32 else self.dtype,
            device=first.device,
        )
        targets: list[Tensor] = []
        for parameter in parameters:
            gradient = parameter.grad
            assert gradient is not None
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            average = state["momentum_buffer"]
            average.lerp_(gradient, 1 - group["momentum"])
            update = gradient.lerp(average, group["momentum"]) if group["nesterov"] else average
            blocks = _blocks(parameter)
            for target, part in zip(parameter.chunk(blocks), update.chunk(blocks), strict=True):
                stack[len(targets)] = part if part.shape == shape else part.mT
                targets.append(target)
        for target, update in zip(targets, orthogonalise(stack, group["ns_steps"]), strict=True):
            rows, columns = target.shape
            target.mul_(1 - group["lr"] * group["weight_decay"])
            target.add_(
                update if update.shape == target.shape else update.mT,
                alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5,
            )


def _blocks(parameter: Tensor) -> int:
    return int(getattr(parameter, "blocks", 1))


def _wide_shape(parameter: Tensor) -> tuple[int, int]:
    rows, columns = parameter.shape[0] // _blocks(parameter), parameter.shape[1]
    return (rows, columns) if rows <= columns else (columns, rows)
