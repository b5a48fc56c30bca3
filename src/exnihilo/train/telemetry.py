"""Counters that are shown and logged: averaged loss, tokens per second, time left, model-FLOPs
utilisation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from exnihilo.core.machine import matmul_peak

# Published dense peaks (FLOP/s, no TF32, no sparsity) by the exact name that the driver reports. A
# name that is not here has no peak: a guess would make the utilisation meaningless.
FLOAT32_PEAK = {
    "NVIDIA A100-SXM4-40GB": 19.5e12,
    "NVIDIA A100-SXM4-80GB": 19.5e12,
    "NVIDIA A100 80GB PCIe": 19.5e12,
    "NVIDIA A10": 31.2e12,
    "NVIDIA L4": 30.3e12,
    "NVIDIA L40S": 91.6e12,
    "NVIDIA H100 80GB HBM3": 67e12,
    "NVIDIA H100 PCIe": 51e12,
    "NVIDIA H200": 67e12,
    "NVIDIA GeForce RTX 3090": 35.6e12,
    "NVIDIA GeForce RTX 4090": 82.6e12,
    "Tesla T4": 8.1e12,
    "Tesla V100-SXM2-16GB": 15.7e12,
    "Tesla V100-SXM2-32GB": 15.7e12,
}
BFLOAT16_PEAK = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA A10": 125e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA GeForce RTX 3090": 71e12,
    "NVIDIA GeForce RTX 4090": 165e12,
}
TYPICAL_UTILISATION = {torch.float32: 0.35, torch.bfloat16: 0.12}
"""Model FLOPs over the measured peak, as seen with small decoders on two cores: with bfloat16's units products take a
seventh of the time, and all else as long as before."""


class Average:
    """Exponential moving average, debiased: the average of a constant is that constant from the first value
    on."""

    def __init__(self, decay: float, total: float = 0.0, weight: float = 0.0) -> None:
        self.decay, self.total, self.weight = decay, total, weight

    def update(self, value: float) -> float:
        self.total = self.decay * self.total + (1 - self.decay) * value
        # The weights of the values so far sum to 1 - decayⁿ; dividing by that sum removes the pull to 0.
        self.weight = self.decay * self.weight + (1 - self.decay)
        return self.value

    @property
    def value(self) -> float:
        """NaN before the first value."""
        return self.total / self.weight if self.weight else float("nan")


@dataclass(frozen=True)
class Rates:
    """Means over the steps since the last line: tokens and FLOPs per second, seconds per step."""

    tokens: float
    flops: float
    step_seconds: float


class Meter:
    """Counts the wall-clock time of steps, waiting for their batches included.

    Validation, samples and checkpoints lie between `stop` and the next `start` and are not counted in rates.
    `seconds` is the time in steps since the run began, sessions before a resume included.
    """

    def __init__(self, seconds: float = 0.0, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = seconds
        self.clock = clock
        self._started = 0.0
        self._reset()

    def start(self) -> None:
        self._started = self.clock()

    def stop(self, tokens: int, flops: float) -> None:
        """End a step of `tokens`; the caller has waited for the device."""
        elapsed = self.clock() - self._started
        self.seconds += elapsed
        self._elapsed += elapsed
        self._tokens += tokens
        self._flops += flops
        self._steps += 1

    def take(self) -> Rates:
        """Rates since the last call."""
        elapsed = max(self._elapsed, 1e-9)
        rates = Rates(self._tokens / elapsed, self._flops / elapsed, self._elapsed / max(self._steps, 1))
        self._reset()
        return rates

    def _reset(self) -> None:
        self._elapsed, self._tokens, self._flops, self._steps = 0.0, 0, 0.0, 0


@dataclass(frozen=True)
class Peak:
    """FLOP/s that the device can do in the precision of a run's products, or None where nobody has said; `how` tells
    what it is, and `usual` what share of it small models come to."""

    flops: float | None
    how: str
    usual: float = TYPICAL_UTILISATION[torch.float32]

    def utilisation(self, flops_per_second: float) -> float | None:
        """Share of the peak that the model's own FLOPs are (arXiv 2204.02311), or None without a peak."""
        return None if self.flops is None or not flops_per_second else flops_per_second / self.flops


@cache
def device_peak(kind: str, name: str, dtype: torch.dtype = torch.float32) -> Peak:
    """The peak of a device in `dtype`: measured for a CPU, published for a GPU of known `name`, otherwise n/a."""
    precision, usual = str(dtype).removeprefix("torch."), TYPICAL_UTILISATION[dtype]
    if kind == "cpu":
        measured = matmul_peak(dtype=dtype)
        how = f"{measured / 1e9:.0f} GFLOP/s, measured {precision} matrix multiply on this CPU"
        return Peak(measured, how, usual)
    published = (FLOAT32_PEAK if dtype == torch.float32 else BFLOAT16_PEAK).get(name)
    if published is None:
        return Peak(None, f"n/a: no published {precision} peak is known for {name!r}")
    return Peak(published, f"{published / 1e12:g} TFLOP/s, published dense {precision} peak of {name}", usual)
