"""Numbers as a reader wants them."""

from __future__ import annotations

import pytest

from exnihilo.lab.table import show, smallest, span


@pytest.mark.parametrize(
    ("metric", "number", "value", "difference"),
    [
        ("base.bits_per_byte", 1.38204, "1.3820", "+1.3820"),
        ("base.bits_per_byte/python-docs", -0.01, "−0.0100", "−0.0100"),
        ("base.perplexity", 178.891, "178.89", "+178.89"),
        ("base.tokens_per_second", 12_400.4, "12,400", "+12,400"),
        ("sft.accuracy", 0.7434, "74.3 %", "+74.3 points"),
        ("sft.accuracy/doc", -0.0001, "0.0 %", "+0.0 points"),
        ("sft.ended", -0.25, "−25.0 %", "−25.0 points"),
    ],
)
def test_values_and_differences(metric: str, number: float, value: str, difference: str) -> None:
    assert show(metric, number) == value and show(metric, number, sign=True) == difference


def test_intervals() -> None:
    assert span("base.loss", -0.1, 0.25) == "−0.1000 to +0.2500"
    assert span("base.accuracy", -0.149, 0.06) == "−14.9 to +6.0 points"
    assert span("base.loss", None, None) == "–"


def test_the_smallest_detectable_difference_has_no_sign() -> None:
    assert smallest({"metric": "base.accuracy", "detectable": 0.137}) == "13.7 points"
    assert smallest({"metric": "base.loss", "detectable": 0.05}) == "0.0500"
    assert smallest({"metric": "base.loss", "detectable": None}) == "–"
