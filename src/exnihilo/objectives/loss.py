"""The result of an objective on a batch, and the protocol of objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from exnihilo.tokens.batch import Batch


@dataclass
class Loss:
    """Sums, never means: the trainer divides by the weight of all micro-batches and ranks together.

    Attributes:
        total: scalar with a graph; the loss summed over the batch.
        weight: scalar without one; what it was summed over (tokens, sequences, pairs …).
        metrics: scalars without one, summed like `total`; logged divided by the same weight.
        peaks: scalars without one and not below 0, of which the largest of all parts is logged.
    """

    total: Tensor
    weight: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    peaks: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """Turns a model and a (micro-)batch into a `Loss`.

    The sums of the parts of a batch must be the sum of the batch, and the names in `metrics` and `peaks` must not
    depend on the data, since every rank reports the same ones.
    """

    def __call__(self, model: Any, batch: Batch) -> Loss: ...
