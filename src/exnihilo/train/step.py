"""The gradient of one optimizer step: summed over micro-batches and ranks, then divided by the total
weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.core.errors import ConfigError, OutOfMemory
from exnihilo.core.memory import is_out_of_memory
from exnihilo.model.precision import multiplying_in
from exnihilo.objectives.loss import Loss, Objective
from exnihilo.tokens.batch import Batch
from exnihilo.train import distributed


@dataclass(frozen=True)
class StepSums:
    """What a step summed over all micro-batches and ranks.

    Attributes:
        loss: mean loss; NaN where the weight is 0.
        weight: what it is the mean over.
        metrics: the objective's metrics as means over the same weight, and its peaks.
        stop: whether any rank was asked to stop.
        norm: global norm of the gradient before it was clipped; NaN where the weight is 0.
    """

    loss: float
    weight: float
    metrics: dict[str, float]
    stop: bool
    norm: float = float("nan")


class Accumulator:
    """Computes gradients in micro-batches of at most `micro_rows` rows (None: all of a rank's rows at once),
    multiplying matrices in `dtype`.

    When memory runs out, the device's or the machine's, the step is done again with half as many rows at once, which
    changes nothing but memory; `take_remarks` tells of it.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        micro_rows: int | None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model = model
        self.dtype = dtype
        self.objective = objective
        self.micro_rows = micro_rows
        self._remarks: list[str] = []
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.device = self.parameters[0].device

    def gradients(
        self, batch: Batch, stop: Callable[[], int | None] = lambda: None, limit: float | None = None
    ) -> StepSums:
        """Leave in every parameter's `grad` the gradient of `Σ total / Σ weight` over the whole batch and all
        ranks, scaled to a global norm of at most `limit` (None: any).

        With a weight of 0 the gradients are undefined and must not be used. `stop` is asked once this rank's
        gradients are there; ranks learn of each other's answer in the same exchange, so that all stop
        together.

        Raises:
            ConfigError: fewer rows than processes.
            OutOfMemory: a single row does not fit.
        """
        size = distributed.world()[1]
        if len(batch) < size:
            raise ConfigError(
                f"a batch of {len(batch)} rows can't feed {size} processes; give each at least one row"
            )
        own = batch.rows(*distributed.own_rows(len(batch)))
        while True:
            try:
                losses = self._backward(own)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(own), error)
        names, highest = list(losses[0].metrics), list(losses[0].peaks)
        # One transfer from the device a step; sums in float64.
        table = torch.stack([_row(loss, names, highest) for loss in losses]).cpu().double()
        rows = table[:, : 2 + len(names)].sum(0).tolist()
        total, weight, stops, *metrics = distributed.sum_over_ranks(
            [*rows[:2], float(stop() is not None), *rows[2:]], self.device
        )
        peaks = distributed.most_over_ranks(table[:, 2 + len(names) :].amax(0).tolist(), self.device)
        distributed.sum_gradients(self.parameters)
        if weight == 0:
            return StepSums(float("nan"), 0.0, {}, stops > 0)
        means = {name: value / weight for name, value in zip(names, metrics, strict=True)}
        means |= dict(zip(highest, peaks, strict=True))
        norm = _divide_and_clip(self.parameters, weight, limit)
        return StepSums(total / weight, weight, means, stops > 0, norm)

    def take_remarks(self) -> list[str]:
        """What there was to remark since the last call."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def _backward(self, own: Batch) -> list[Loss]:
        for parameter in self.parameters:
            parameter.grad = None
        parts = 1 if self.micro_rows is None else -(-len(own) // self.micro_rows)
        losses = []
        for part in own.split(parts):
            with multiplying_in(self.dtype, self.device):
                loss = self.objective(self.model, part.to(self.device))
            torch.autograd.backward(loss.total)
            losses.append(Loss(loss.total.detach(), loss.weight, loss.metrics, loss.peaks))
        return losses

    def _halve(self, rows: int, error: BaseException) -> None:
        before = min(rows, self.micro_rows or rows)
        if before == 1:
            raise OutOfMemory(
                "one row does not fit into memory; use shorter rows or a smaller model"
            ) from error
        self.micro_rows = -(-before // 2)
        self._remarks.append(f"out of memory with {before} rows at once; going on with {self.micro_rows}")


@torch.no_grad()
def _divide_and_clip(parameters: Sequence[Tensor], weight: float, limit: float | None) -> float:
    """Divide gradients by `weight` and scale them to a global norm of at most `limit` (None: any), both in one pass;
    returns the norm in between."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = float(nn.utils.get_total_norm(gradients)) / weight
    factor = 1.0 if limit is None or norm <= limit else limit / norm
    for gradient in gradients:
        gradient.mul_(factor / weight)
    return norm


def _row(loss: Loss, names: Sequence[str], highest: Sequence[str]) -> Tensor:
    values: list[Any] = [
        loss.total,
        loss.weight,
        *(loss.metrics[name] for name in names),
        *(loss.peaks[name] for name in highest),
    ]
    return torch.stack(
        [torch.as_tensor(value, device=loss.total.device).detach().to(loss.total) for value in values]
    )
