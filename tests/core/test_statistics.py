"""Intervals: their coverage in simulation, known values, and that they are the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from exnihilo.core.statistics import (
    Interval,
    bootstrap,
    normal_margin,
    paired_bootstrap,
    ratio_bootstrap,
    wilson,
)

TRIALS = 2500
# Coverage over 2500 trials has a standard error of 0.4 points: a true 95 % is within 93 to 97 by 4 of them.


def coverage(intervals: list[Interval], truth: float) -> float:
    return sum(one.low <= truth <= one.high for one in intervals) / len(intervals)


def test_eval_14_wilson_covers_95_percent() -> None:
    generator = np.random.default_rng(1)
    for share, n in ((0.5, 164), (0.9, 100), (0.05, 400)):
        found = [wilson(int(k), n) for k in generator.binomial(n, share, size=4000)]
        assert 0.93 <= coverage(found, share) <= 0.97


def test_eval_14_the_bootstrap_of_a_mean_covers_95_percent() -> None:
    generator = np.random.default_rng(2)
    yes_no = [bootstrap(generator.random(200) < 0.3, seed=i, draws=500) for i in range(TRIALS)]
    assert 0.93 <= coverage(yes_no, 0.3) <= 0.97


def test_eval_14_few_items_get_an_interval_as_wide_as_they_need() -> None:
    generator = np.random.default_rng(8)
    for n in (10, 50):
        found = [bootstrap(generator.standard_normal(n), seed=i, draws=300) for i in range(TRIALS)]
        assert 0.93 <= coverage(found, 0.0) <= 0.97


def test_eval_14_clusters_are_drawn_whole_where_items_are_not_independent() -> None:
    generator = np.random.default_rng(3)
    clusters = np.repeat(np.arange(80), 5).tolist()
    whole, apart = [], []
    for trial in range(400):
        values = np.repeat(generator.standard_normal(80), 5) + 0.3 * generator.standard_normal(400)
        whole.append(bootstrap(values, clusters, seed=trial, draws=500))
        apart.append(bootstrap(values, seed=trial, draws=300))
    assert 0.92 <= coverage(whole, 0.0) <= 0.97
    assert coverage(apart, 0.0) < 0.75
    assert whole[0].n == 400


def test_eval_14_the_bootstrap_of_a_ratio_covers_95_percent() -> None:
    generator = np.random.default_rng(4)
    found = []
    for trial in range(TRIALS):
        sizes = generator.integers(100, 1000, size=200).astype(float)
        bits = sizes * (1.5 + 0.3 * generator.standard_normal(200))
        found.append(ratio_bootstrap(bits, sizes, seed=trial, draws=300))
    assert 0.93 <= coverage(found, 1.5) <= 0.97


def test_eval_14_164_items_at_half_are_good_to_7_7_points() -> None:
    assert f"{100 * normal_margin(0.5, 164):.1f}" == "7.7"
    interval = wilson(82, 164)
    assert 7.5 <= 50 * (interval.high - interval.low) <= 7.7
    resampled = bootstrap([0.0, 1.0] * 82)
    assert 7.2 <= 50 * (resampled.high - resampled.low) <= 8.0


def test_wilson_at_the_ends_and_by_hand() -> None:
    # 0 of 10: z²/(n+z²) = 3.8415/13.8415.
    assert wilson(0, 10) == Interval(0.0, 10, 0.0, pytest.approx(0.27753, abs=1e-5))
    assert wilson(10, 10) == Interval(1.0, 10, pytest.approx(0.72247, abs=1e-5), 1.0)
    for successes, n in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="a proportion needs"):
            wilson(successes, n)


def test_a_ratio_is_of_sums_and_a_pair_is_item_by_item() -> None:
    assert ratio_bootstrap([1.0, 30.0], [1.0, 10.0]).value == pytest.approx(31 / 11)
    ability = np.random.default_rng(5).standard_normal(300)
    paired = paired_bootstrap(ability + 0.1, ability)
    assert paired.value == pytest.approx(0.1) and paired.high - paired.low < 1e-9 and paired.excludes_zero
    apart = bootstrap(ability + 0.1).high - bootstrap(ability + 0.1).low
    assert apart > 0.2


def test_both_ways_of_drawing_give_the_same_interval() -> None:
    scores = np.random.default_rng(6).random(400) < 0.4
    few = bootstrap(scores, seed=1)
    # A trace of noise makes every value distinct, so that indices are drawn and not counts.
    many = bootstrap(scores + 1e-12 * np.arange(400), seed=1)
    assert few.value == pytest.approx(many.value)
    assert few.low == pytest.approx(many.low, abs=0.004) and few.high == pytest.approx(many.high, abs=0.004)


def test_intervals_are_the_same_each_time_and_change_with_the_seed() -> None:
    values = np.random.default_rng(7).standard_normal(50)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3) != bootstrap(values, seed=4)
    assert bootstrap(values, seed=3).as_dict().keys() == {"value", "n", "low", "high"}


def test_one_value_and_impossible_input() -> None:
    assert bootstrap([2.0]) == Interval(2.0, 1, 2.0, 2.0)
    for values in ([], [[1.0]], [float("nan")]):
        with pytest.raises(ValueError, match=r"values? (is needed|must be finite)"):
            bootstrap(values)
    with pytest.raises(ValueError, match="2 clusters for 1 values"):
        bootstrap([1.0], ["a", "b"])
    with pytest.raises(ValueError, match="denominators"):
        ratio_bootstrap([1.0], [0.0])
    with pytest.raises(ValueError, match="not 1 and 2"):
        paired_bootstrap([1.0], [1.0, 2.0])
