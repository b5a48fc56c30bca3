from __future__ import annotations

import math

import pytest
import torch

from exnihilo.train.telemetry import Average, Meter, Peak, device_peak


class Clock:
    """Shows an absolute time far from 0, as real clocks do."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.98, 0.999])
def test_train_2_average_of_a_constant_is_that_constant_at_every_step(decay: float) -> None:
    average = Average(decay)
    assert math.isnan(average.value)
    for _ in range(300):
        assert average.update(7.25) == pytest.approx(7.25, rel=1e-12)
    restored = Average(decay, average.total, average.weight)
    assert restored.update(8.0) == average.update(8.0)


def test_average_weighs_recent_values_more() -> None:
    average = Average(0.5)
    for value in (1.0, 2.0, 4.0):
        average.update(value)
    assert average.value == pytest.approx((0.25 * 1 + 0.5 * 2 + 1.0 * 4) / 1.75)


def test_perf_1_tokens_per_second_by_the_clock_around_steps() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    for _ in range(4):
        meter.start()
        clock.now += 0.25
        meter.stop(tokens=500, flops=3e6)
        clock.now += 60.0  # validation, samples and checkpoints are no part of a step
    rates = meter.take()
    assert rates.tokens == pytest.approx(2000)
    assert rates.flops == pytest.approx(12e6)
    assert meter.seconds == pytest.approx(1.0)

    resumed = Meter(meter.seconds, clock=clock)
    clock.now += 3600.0
    resumed.start()
    clock.now += 0.5
    resumed.stop(tokens=500, flops=3e6)
    assert resumed.take().tokens == pytest.approx(1000)
    assert resumed.seconds == pytest.approx(1.5)


def test_perf_2_unknown_gpu_has_no_utilisation() -> None:
    unknown = device_peak("cuda", "NVIDIA Z9000")
    assert unknown.flops is None and "n/a" in unknown.how and "NVIDIA Z9000" in unknown.how
    assert unknown.utilisation(1e15) is None
    h200 = device_peak("cuda", "NVIDIA H200")
    assert h200.utilisation(33.5e12) == pytest.approx(0.5)
    # An H200 is not scored against another card whose name it contains.
    assert device_peak("cuda", "NVIDIA H200 NVL").flops is None
    # Products of bfloat16 are scored against what it can do of these.
    assert device_peak("cuda", "NVIDIA H200", torch.bfloat16).utilisation(494.5e12) == pytest.approx(0.5)
    assert device_peak("cuda", "Tesla T4", torch.bfloat16).flops is None


def test_perf_2_cpu_peak_is_measured() -> None:
    peak = device_peak("cpu", "cpu")
    assert peak.flops is not None and 1e8 < peak.flops < 1e14
    assert (
        "measured float32" in peak.how
        and "measured bfloat16" in device_peak("cpu", "cpu", torch.bfloat16).how
    )
    assert Peak(2e9, "x").utilisation(1e9) == 0.5
