"""Norms by parameter: of the weights, of their gradients, and of what a step changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def measured(named: Mapping[str, Tensor], shortened: float, record: Callable[..., None]) -> Iterator[None]:
    """Measure what happens inside: one step of the optimizers.

    Calls `record(weight=…, gradient=…, update_ratio=…)`, each `{parameter: number}`: the weights' norm before the
    step, their gradients' before clipping (which made them `shortened` times as long), and the norm of the change as
    a share of the weights' own, None where those are all zero. About 1e-3 is usual for AdamW; Muon's is its learning
    rate times a shape's constant, over the weights' norm. Needs a copy of the weights for as long as the step takes.
    """
    parameters = {name: parameter for name, parameter in named.items() if parameter.grad is not None}
    gradients = [parameter.grad for parameter in parameters.values() if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in parameters.values()]
    weight, gradient = _norms(before), _norms(gradients)
    yield
    with torch.no_grad():
        change = _norms([p - old for p, old in zip(parameters.values(), before, strict=True)])
    ratio = [moved / size if size else None for moved, size in zip(change, weight, strict=True)]
    columns: dict[str, list[float | None]] = {
        "weight": [*weight],
        "gradient": [norm / shortened for norm in gradient],
        "update_ratio": ratio,
    }
    record(
        **{
            column: {name: _short(number) for name, number in zip(parameters, numbers, strict=True)}
            for column, numbers in columns.items()
        }
    )


def _short(number: float | None) -> float | None:
    # Five digits are more than a heatmap shows, and half of the file.
    return None if number is None else float(f"{number:.5g}")


def _norms(tensors: list[Tensor]) -> list[float]:
    """The Euclidean norms, with one transfer from the device."""
    if not tensors:
        return []
    norms = [torch.linalg.vector_norm(tensor.detach(), dtype=torch.float32) for tensor in tensors]
    return torch.stack(norms).double().tolist()
