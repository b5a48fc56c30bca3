from __future__ import annotations

import math
from itertools import pairwise

import pytest

from exnihilo.train.config import ScheduleConfig
from exnihilo.train.schedules import factor, warmup_steps

STEPS = 200


@pytest.mark.parametrize("kind", ["linear", "cosine", "wsd", "constant"])
def test_train_4_rate_at_first_warmup_and_last_step_is_the_closed_form(kind: str) -> None:
    schedule = ScheduleConfig(kind=kind, warmup=10, cooldown=0.25, final=0.1)
    assert factor(schedule, 0, STEPS) == 1 / 10
    assert factor(schedule, 9, STEPS) == 1.0
    assert factor(schedule, 10, STEPS) == 1.0
    last = {
        "linear": 0.1 + 0.9 / 190,
        "cosine": 0.1 + 0.9 * (1 + math.cos(math.pi * 189 / 190)) / 2,
        "wsd": 0.1 + 0.9 / 50,
        "constant": 1.0,
    }
    assert factor(schedule, STEPS - 1, STEPS) == pytest.approx(last[kind], abs=1e-12)


def test_values_between() -> None:
    linear = ScheduleConfig(kind="linear", warmup=0, final=0.0)
    assert factor(linear, 50, STEPS) == pytest.approx(0.75)
    cosine = ScheduleConfig(kind="cosine", warmup=0, final=0.2)
    assert factor(cosine, 100, STEPS) == pytest.approx(0.6)
    wsd = ScheduleConfig(kind="wsd", warmup=0.05, cooldown=0.25)
    values = [factor(wsd, step, STEPS) for step in range(STEPS)]
    assert values[9:150] == [1.0] * 141
    assert values[175] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(values[150:]))


def test_warmup_is_a_share_below_one_and_steps_from_one() -> None:
    assert warmup_steps(ScheduleConfig(warmup=0.1), STEPS) == 20
    assert warmup_steps(ScheduleConfig(warmup=1), STEPS) == 1
    assert warmup_steps(ScheduleConfig(warmup=0), STEPS) == 0
    assert warmup_steps(ScheduleConfig(warmup=40), 30) == 29
    assert factor(ScheduleConfig(warmup=40), 29, 30) == 1.0
    assert factor(ScheduleConfig(warmup=0.02), 0, 1) == 1.0
