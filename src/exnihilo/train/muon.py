"""Muon and NorMuon: momentum whose update is orthogonalised, for the weight matrices inside a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

Quintic = tuple[float, float, float]
"""a, b and c of a·σ + b·σ³ + c·σ⁵, by which one iteration maps singular values."""
JORDAN: tuple[Quintic, ...] = ((3.4445, -4.7750, 2.0315),)
"""Steep at 0, so that five iterations bring all of [0.01, 1] into about [0.7, 1.2]."""
POLAR_EXPRESS: tuple[Quintic, ...] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
"""For each iteration the polynomial that is best after those before it: five bring all of [0.001, 1] into about
[0.85, 1.15] (arXiv 2505.16932)."""
EPS = 1e-7
SAFETY = 1.02
"""What the norm is taken to be times as large with several polynomials, which would throw a value above 1 far off."""
# From this ratio of sides on, iterating on the small Gram matrix is cheaper than on the matrix itself.
# Measured on two cores, six matrices: 192 x 576 9 instead of 13 ms, 192 x 1024 13 instead of 20 ms.
GRAM_RATIO = 1.5
# Errors of the Gram matrix grow with the slope of the accumulated polynomial (about 1e7 over five iterations,
# 2e2 over three), so it is taken anew after at most this many; in float32 the result is then as exact as
# without.
GRAM_ITERATIONS = 3


def orthogonalise(matrices: Tensor, steps: int, quintics: Sequence[Quintic] = JORDAN) -> Tensor:
    """Newton–Schulz iteration towards `U Vᵀ` for each of `matrices` `[n, rows, columns]`, rows ≤ columns.

    By each of `quintics` in turn, and the last of them again for every step beyond. Batched, and in the precision
    given: float32 agrees with float64 to about 1e-5. Zero matrices stay zero.
    Source: Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    """
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    if len(quintics) > 1:
        norms = norms * SAFETY
    x: Tensor = matrices / norms.clamp(min=EPS)
    chain = [quintics[min(step, len(quintics) - 1)] for step in range(steps)]
    # In bfloat16 the Gram matrix's own rounding errors would be multiplied.
    if x.dtype == torch.bfloat16 or x.shape[2] < GRAM_RATIO * x.shape[1]:
        for a, b, c in chain:
            gram = torch.bmm(x, x.mT)
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x
    runs = math.ceil(steps / GRAM_ITERATIONS)
    for run in range(runs):
        x = _iterate_on_gram(x, chain[steps * run // runs : steps * (run + 1) // runs])
    return x


def _iterate_on_gram(x: Tensor, chain: Sequence[Quintic]) -> Tensor:
    """The same iterations on `x xᵀ`: every iterate is a polynomial of it times `x`, and polynomials
    commute."""
    gram = torch.bmm(x, x.mT)
    product: Tensor | None = None
    for step, (a, b, c) in enumerate(chain):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else torch.bmm(factor, product)
        if step < len(chain) - 1:
            gram = torch.bmm(factor, torch.bmm(gram, factor))
    return x if product is None else torch.bmm(product, x)


class Muon(torch.optim.Optimizer):
    """`M ← μM + (1-μ)G`, `W ← (1 - lr·decay)W - lr·√max(1, rows/columns)·orthogonalise(M or its look-ahead)`.

    The same update as `torch.optim.Muon`, iterated in `dtype` (float32: the parameters' precision) and with all
    matrices of one shape (transposed to be wide) orthogonalised in one batch. A parameter with an attribute
    `blocks = k` is orthogonalised as k equal blocks of rows; without one, fused projections are one matrix,
    which is also the cheaper way (a 576 x 192 query-key-value matrix costs 9 ms where its three squares cost
    16).

    With `neuron_beta` it is NorMuon (arXiv 2510.05491): each row of the orthogonalised update, which is one output
    neuron's, is divided by the root of the running average of its mean square, and the matrix is then given the norm
    that it had, so that a learning rate means the same as without.

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
        quintics: Sequence[Quintic] = JORDAN,
        neuron_beta: float | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype, self.quintics, self.neuron_beta = dtype, quintics, neuron_beta
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
                self._update(sorted(parameters, key=_is_tall), shape, group)

    def _update(self, parameters: list[Tensor], shape: tuple[int, int], group: dict[str, Any]) -> None:
        """Move `parameters`, first those whose blocks are of `shape`, then those whose blocks are its transpose."""
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
                if self.neuron_beta is not None:
                    state["neuron_buffer"] = gradient.new_zeros(len(gradient), 1)
            average = state["momentum_buffer"]
            average.lerp_(gradient, 1 - group["momentum"])
            update = gradient.lerp(average, group["momentum"]) if group["nesterov"] else average
            blocks = _blocks(parameter)
            for target, part in zip(parameter.chunk(blocks), update.chunk(blocks), strict=True):
                stack[len(targets)] = part if part.shape == shape else part.mT
                targets.append(target)
        updates = orthogonalise(stack, group["ns_steps"], self.quintics)
        scales: Iterable[Tensor | None] = repeat(None)
        if self.neuron_beta is not None:
            scales = self._neuron_scales(updates, parameters, self.neuron_beta)
        for target, update, scale in zip(targets, updates, scales, strict=False):
            rows, columns = target.shape
            if group["weight_decay"]:
                target.mul_(1 - group["lr"] * group["weight_decay"])
            oriented = update if update.shape == target.shape else update.mT
            target.add_(
                oriented if scale is None else oriented * scale,
                alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5,
            )

    def _neuron_scales(self, updates: Tensor, parameters: list[Tensor], beta: float) -> list[Tensor]:
        """For each of `updates` `[n, rows, columns]` what its neurons are multiplied by, `[neurons, 1]`; the neurons of
        tall blocks are columns."""
        wide = sum(not _is_tall(p) for p in parameters)
        count = sum(_blocks(p) for p in parameters[:wide])
        scales: list[Tensor] = []
        for part, owners, axis in (
            (updates[:count], parameters[:wide], 2),
            (updates[count:], parameters[wide:], 1),
        ):
            if not owners:
                continue
            buffers = [self.state[p]["neuron_buffer"] for p in owners]
            squares = part.to(buffers[0].dtype, copy=True).square_().mean(axis)
            average = torch.cat(buffers).view_as(squares).lerp_(squares, 1 - beta)
            for buffer, new in zip(
                buffers, torch.split(average.view(-1, 1), [len(b) for b in buffers]), strict=True
            ):
                buffer.copy_(new)
            scale = average.clamp(min=EPS * EPS).rsqrt()
            grown = (squares * scale.square()).sum(1, keepdim=True).clamp(min=EPS * EPS)
            scales += (scale * (squares.sum(1, keepdim=True) / grown).sqrt()).unsqueeze(2)
        return scales


def _blocks(parameter: Tensor) -> int:
    return int(getattr(parameter, "blocks", 1))


def _is_tall(parameter: Tensor) -> bool:
    return parameter.shape[0] // _blocks(parameter) > parameter.shape[1]


def _wide_shape(parameter: Tensor) -> tuple[int, int]:
    rows, columns = parameter.shape[0] // _blocks(parameter), parameter.shape[1]
    return (rows, columns) if rows <= columns else (columns, rows)
