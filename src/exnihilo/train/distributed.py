"""Data parallelism over whatever process group is initialised (`torchrun`); one process without one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def device() -> torch.device:
    """This process's GPU where there is one, otherwise the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def own_rows(rows: int) -> tuple[int, int]:
    """This rank's share of a batch's rows, as (start, stop); shares differ by one row at most."""
    rank, size = world()
    return rows * rank // size, rows * (rank + 1) // size


def sum_over_ranks(values: Sequence[float], device: torch.device) -> list[float]:
    """Each value summed over all ranks, in float64."""
    if world()[1] == 1:
        return list(values)
    # float64 does not exist on Apple's GPUs, which have no process group either.
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return [float(value) for value in tensor.tolist()]


def most_over_ranks(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest of each value on any rank; none where none are given, without an exchange."""
    if world()[1] == 1 or not values:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return [float(value) for value in tensor.tolist()]


@torch.no_grad()
def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Sum gradients over all ranks in one call; a rank without any counts as zero."""
    if world()[1] == 1:
        return
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def barrier() -> None:
    """Wait for all ranks."""
    if world()[1] > 1:
        dist.barrier()
