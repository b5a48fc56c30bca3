"""Student's t against published tables, and against its own definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exnihilo.lab.student import detectable_shift, p_value, quantile95, within

TABLE = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    9: 2.262,
    10: 2.228,
    29: 2.045,
    30: 2.042,
    100: 1.984,
}


@pytest.mark.parametrize(("freedom", "t"), TABLE.items())
def test_quantiles_are_those_of_the_tables(freedom: int, t: float) -> None:
    assert quantile95(freedom) == pytest.approx(t, abs=5e-4)
    assert p_value(t, freedom) == pytest.approx(0.05, abs=2e-4)


def test_closed_forms_of_one_and_two_degrees() -> None:
    for t in (0.1, 1.0, 3.7, 25.0):
        assert within(t, 1) == pytest.approx(2 / math.pi * math.atan(t))
        assert within(t, 2) == pytest.approx(t / math.sqrt(2 + t * t))
        assert within(-t, 2) == within(t, 2)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12])
def test_the_probability_is_the_integral_of_the_density(freedom: int) -> None:
    grid = np.linspace(-2.5, 2.5, 20_001)
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    density = scale * (1 + grid**2 / freedom) ** (-(freedom + 1) / 2)
    assert within(2.5, freedom) == pytest.approx(float(np.trapezoid(density, grid)), abs=1e-7)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_a_difference_of_the_detectable_size_is_found_in_80_percent_of_experiments(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    shift = detectable_shift(seeds - 1) / math.sqrt(seeds)
    drawn = generator.normal(shift, 1.0, size=(40_000, seeds))
    t = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * math.sqrt(seeds)
    found = float((np.abs(t) > quantile95(seeds - 1)).mean())
    assert found == pytest.approx(0.8, abs=0.01)


def test_the_shifts_for_few_seeds_are_those_of_the_non_central_t() -> None:
    """By adaptive quadrature with an error of 1e-9."""
    assert [detectable_shift(freedom) for freedom in (1, 2, 3, 9)] == [
        pytest.approx(one, abs=1e-4) for one in (16.33401, 5.65349, 4.25590, 3.14963)
    ]


def test_with_many_seeds_the_shift_is_that_of_the_normal_distribution() -> None:
    assert detectable_shift(400) == pytest.approx(1.960 + 0.8416, abs=0.01)
