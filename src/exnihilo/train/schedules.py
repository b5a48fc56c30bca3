"""Learning-rate schedules: the share of the peak at a step, as a closed form of the step."""

from __future__ import annotations

import math

from exnihilo.train.config import ScheduleConfig


def warmup_steps(schedule: ScheduleConfig, steps: int) -> int:
    """Steps of warm-up in a run of `steps`, at most all but the last."""
    wanted = math.ceil(schedule.warmup * steps) if schedule.warmup < 1 else round(schedule.warmup)
    return min(wanted, steps - 1)


def factor(schedule: ScheduleConfig, step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0) of `steps`.

    Warm-up of w steps: `(step + 1) / w`, so that no step is lost at a rate of 0. The decay starts from 1 at
    step w and would arrive at `final` at step `steps`, the first that is not taken: linear `1 - (1 - final)
    x` and cosine `final + (1 - final)(1 + cos πx) / 2` with `x = (step - w) / (steps - w)`; wsd stays at 1
    and runs the linear decay over its last `cooldown · steps` steps (arXiv 2405.18392).
    """
    warmup = warmup_steps(schedule, steps)
    if step < warmup:
        return (step + 1) / warmup
    start = warmup
    if schedule.kind == "wsd":
        start = max(warmup, steps - math.ceil(schedule.cooldown * steps))
    if schedule.kind == "constant" or step < start:
        return 1.0
    x = min(1.0, (step - start) / (steps - start))
    if schedule.kind == "cosine":
        return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * x)) / 2
    return 1 - (1 - schedule.final) * x
