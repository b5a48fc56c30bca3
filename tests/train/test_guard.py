from __future__ import annotations

import random

from exnihilo.train.guard import PATIENCE, WINDOW, Guard


def filled(sigmas: float | None = 6.0, steps: int = WINDOW) -> Guard:
    guard = Guard(sigmas)
    noise = random.Random(0)
    for _ in range(steps):
        assert guard.judge(2 + noise.gauss(0, 0.1), 1 + noise.gauss(0, 0.1)) is None
    return guard


def test_train_3_outliers_are_judged_against_the_last_128_accepted() -> None:
    assert filled(steps=WINDOW - 1).judge(200.0, 1.0) is None  # too little is known yet
    guard = filled()
    before = guard.state()
    reason = guard.judge(200.0, 1.0)
    assert reason is not None and "outlier: loss 200" in reason
    assert guard.judge(2.0, 100.0) is not None  # the norm counts as well
    assert guard.state()["losses"] == before["losses"]  # neither entered the window
    assert guard.judge(2.5, 1.4) is None  # 5 and 4 sigma
    assert filled(sigmas=None).judge(200.0, 1.0) is None


def test_train_3_non_finite_steps_are_skipped_and_counted_in_a_row() -> None:
    guard = Guard(6.0)
    for value in (float("nan"), float("inf")) * PATIENCE:
        assert guard.judge(value, 1.0) is not None
        assert guard.judge(1.0, 1.0) is None  # a good one between starts the count anew
        assert not guard.diverged
    for _ in range(PATIENCE):
        assert not guard.diverged
        guard.judge(1.0, float("nan"))
    assert guard.diverged


def test_a_lasting_change_of_level_ends_the_skipping() -> None:
    guard = filled()
    verdicts = [guard.judge(50.0, 1.0) for _ in range(PATIENCE + 1)]
    assert all(verdict is not None for verdict in verdicts[:PATIENCE])
    assert "level has changed" in str(verdicts[PATIENCE - 1])
    assert verdicts[PATIENCE] is None


def test_a_window_without_spread_calls_nothing_an_outlier() -> None:
    guard = Guard(6.0)
    for _ in range(WINDOW):
        guard.judge(0.0, 0.0)
    assert guard.judge(0.1, 0.2) is None


def test_state_round_trip_judges_alike() -> None:
    guard, other = filled(), Guard(6.0)
    guard.judge(float("nan"), 1.0)
    other.load(guard.state())
    assert other.state() == guard.state()
    assert (guard.judge(2.62, 1.0) is None) == (other.judge(2.62, 1.0) is None)
