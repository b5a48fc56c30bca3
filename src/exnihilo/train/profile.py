"""Where the time of one training step goes: a trace for a viewer, and a table for people."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from exnihilo.core.files import TEMPORARY, write_json
from exnihilo.core.progress import short
from exnihilo.train.telemetry import Peak

TRACE, TABLE = "trace.json", "profile.json"
TOP = 10
PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"})
"""The operations that matrix products arrive at, `F.linear` and `@` among them; attention has its own."""


@dataclass(frozen=True)
class Operation:
    """An operation by the time in itself, callees left out, and its share of the step's time."""

    name: str
    calls: int
    seconds: float
    share: float


@dataclass(frozen=True)
class Products:
    """All matrix products together: time, share of the step, FLOP/s, and those as a share of the device's peak."""

    seconds: float
    share: float
    flops: float
    flops_per_second: float
    of_peak: float | None


@dataclass(frozen=True)
class Profile:
    """One step. `operations` are the ten that took most time."""

    step: int
    seconds: float
    products: Products
    operations: list[Operation] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table for people, its first line a summary."""
        peak = "" if self.products.of_peak is None else f", {self.products.of_peak:.0%} of the peak"
        return [
            f"step {self.step} took {self.seconds:.3f} s: matrix products {self.products.share:.0%} of it at "
            f"{short(self.products.flops_per_second)} FLOP/s{peak}",
            f"{'operation':<44} {'calls':>6} {'self, ms':>9} {'share':>6}",
            *(
                f"{one.name[:44]:<44} {one.calls:>6} {1000 * one.seconds:>9.2f} {one.share:>6.1%}"
                for one in self.operations
            ),
        ]


@contextmanager
def profiled(
    folder: Path, step: int, device: torch.device, peak: Peak, tell: Callable[[Profile], None]
) -> Iterator[None]:
    """Profile what happens inside, one step: `trace.json` in the format of Chrome's viewer (also Perfetto's),
    `profile.json` with the numbers, and `tell` of them.

    Times are the processor's, or the GPU's where the model is there. Measuring costs some microseconds an operation,
    so that a step of many small ones takes longer than others do.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes two lines about itself on stderr
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, record_shapes=True, with_flops=True) as trace:
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
    found = _summary(trace.key_averages(), step, seconds, on_gpu, peak)
    temporary = folder / f".{TRACE}{TEMPORARY}"
    trace.export_chrome_trace(str(temporary))
    temporary.replace(folder / TRACE)
    write_json(folder / TABLE, asdict(found))
    tell(found)


def _summary(events: Any, step: int, seconds: float, on_gpu: bool, peak: Peak) -> Profile:
    # Kernels are listed beside the operations that launched them, which already count their time.
    own = [event for event in events if event.device_type.name == "CPU"]

    def time_of(event: Any) -> float:
        return 1e-6 * float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)

    ordered = sorted(own, key=time_of, reverse=True)
    products = [event for event in own if event.key in PRODUCTS]
    spent = sum(time_of(event) for event in products)
    flops = float(sum(event.flops for event in products))
    rate = flops / spent if spent else 0.0
    return Profile(
        step,
        seconds,
        Products(spent, spent / seconds, flops, rate, peak.utilisation(rate)),
        [
            Operation(event.key, event.count, time_of(event), time_of(event) / seconds)
            for event in ordered[:TOP]
        ],
    )
