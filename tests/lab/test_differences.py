"""Paired differences: coverage, identical arms, verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exnihilo.core.statistics import Interval
from exnihilo.lab.differences import holm, paired, verdict


@pytest.mark.parametrize("seeds", [2, 3, 4, 8])
def test_eval_14_intervals_of_arms_that_do_not_differ_cover_zero_in_93_to_97_percent(seeds: int) -> None:
    """A/A: two arms of one distribution, seeds of other difficulty, noise of another size in each experiment."""
    generator = np.random.default_rng(seeds)
    covered = 0
    for _ in range(2000):
        shared, noise = generator.normal(0, 3, size=seeds), generator.uniform(0.01, 2)
        a, b = (shared + generator.normal(0, noise, size=seeds) for _ in range(2))
        found = paired(a.tolist(), b.tolist())
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_perf_5_identical_arms_are_no_difference() -> None:
    found = paired([1.31, 1.28, 1.33], [1.31, 1.28, 1.33])
    assert (found.value, found.spread, found.low, found.high, found.p) == (0, 0, None, None, None)
    assert verdict(found, None, -1) == "same"


def test_pairing_takes_out_what_seeds_share() -> None:
    """0.1 less on every seed, seeds 1 apart: paired it is plain, and the spread is that of the differences."""
    found = paired([1.0, 2.0, 3.0], [0.9, 1.91, 2.89])
    assert found.value == pytest.approx(-0.1) and found.spread == pytest.approx(0.01)
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert (found.low, found.high) == (pytest.approx(-0.1 - half), pytest.approx(-0.1 + half))
    assert verdict(found, None, -1) == "better" and verdict(found, None, 1) == "worse"
    assert verdict(found, None, 0) == "other"


def test_the_arms_exchanged_change_the_sign_only() -> None:
    a, b = [0.2, 0.5, 0.4, 0.9], [0.3, 0.4, 0.6, 1.2]
    forth, back = paired(a, b), paired(b, a)
    assert forth.value == pytest.approx(-back.value) and forth.p == pytest.approx(back.p)
    assert forth.low == pytest.approx(-(back.high or 0)) and forth.detectable == pytest.approx(
        back.detectable
    )


def test_one_seed_tells_nothing() -> None:
    found = paired([1.0], [2.0])
    assert (found.value, found.n, found.low, found.p) == (1.0, 1, None, None)
    assert verdict(found, Interval(1.0, 50, 0.9, 1.1), 1) == "unknown"


def test_equal_differences_that_differ_by_rounding_are_equal() -> None:
    found = paired([0.1, 0.2, 0.3], [0.1 + 0.2, 0.2 + 0.2, 0.3 + 0.2])
    assert found.spread == 0 and found.value == pytest.approx(0.2)


def test_the_same_difference_in_every_seed_is_no_certainty() -> None:
    """One answer of six more in each of three seeds: the items say whether that is anything."""
    found = paired([0.5, 0.5, 0.5], [0.6, 0.6, 0.6])
    assert (found.spread, found.low, found.p) == (0, None, None)
    assert verdict(found, None, 1) == "unknown"
    assert verdict(found, Interval(0.1, 6, 0.0, 0.3), 1) == "open"
    assert verdict(found, Interval(0.1, 600, 0.05, 0.15), 1) == "better"


def test_both_intervals_have_to_exclude_zero() -> None:
    found = paired([1.0, 1.0, 1.0], [1.2, 1.21, 1.19])
    assert verdict(found, None, 1) == "better"
    assert verdict(found, Interval(0.2, 9, -0.1, 0.5), 1) == "open"
    assert verdict(found, Interval(0.2, 9, 0.1, 0.3), 1) == "better"
    assert verdict(paired([1.0, 1.0, 1.0], [1.5, 0.9, 1.2]), Interval(0.2, 9, 0.1, 0.3), 1) == "open"


def test_holm_is_the_example_of_the_textbooks() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
        pytest.approx(0.02),
    ]
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([math.nan], [1.0])])
def test_what_cannot_be_paired_is_an_error(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError):
        paired(a, b)
