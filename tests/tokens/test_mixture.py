from __future__ import annotations

import numpy as np
import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.tokens.mixture import CYCLE, Interleave, normalised, quotas

# Table 1 of arXiv 2101.00027, in per cent.
PILE = [18.11, 14.40, 12.07, 10.01, 8.96, 7.59, 6.12, 5.13, 3.65, 3.07, 2.17]
PILE += [1.55, 1.53, 1.24, 0.88, 0.75, 0.73, 0.62, 0.60, 0.38, 0.30, 0.14]
GPT3 = [60, 22, 8, 8, 3]  # Table 2.2 of arXiv 2005.14165: 101 %


def drift(weights: list[float]) -> float:
    """How far any source strays from its share after any number of turns of two cycles."""
    interleave = Interleave(weights)
    turns = np.arange(2 * interleave.cycle)
    source, _ = interleave.locate(turns)
    return max(
        float(np.abs(np.cumsum(source == i) - share * (turns + 1)).max())
        for i, share in enumerate(interleave.quotas / interleave.cycle)
    )


def test_corpus_12_quotas_are_exact() -> None:
    assert quotas([0.7, 0.3], 10).tolist() == [7, 3]
    assert quotas([1, 1, 1], 10).tolist() == [4, 3, 3]
    assert quotas([0.5, 0.25, 0.25, 0], 7).tolist() == [3, 2, 2, 0]
    rng = np.random.default_rng(1)
    for total in (1, 10, 997):
        weights = rng.random(9)
        counts = quotas(weights.tolist(), total)
        assert counts.sum() == total
        assert np.all(np.abs(counts - weights / weights.sum() * total) < 1)


def test_corpus_12_weights_that_sum_to_101_are_renormalised() -> None:
    assert Interleave(GPT3).counts(101).tolist() == GPT3
    assert sum(normalised(GPT3)) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("rows", [20_000, CYCLE, 1_000_000])
def test_corpus_12_the_22_pile_weights(rows: int) -> None:
    points = 100 * Interleave(PILE).counts(rows) / rows
    assert np.abs(points - PILE).max() < 0.006


@pytest.mark.parametrize(
    ("weights", "bound"),
    [
        ([1], 1e-9),
        ([0.7, 0.3], 0.5),
        ([0.123456, 0.876544], 0.5),
        ([1, 2, 3], 0.6),
        ([0.9, 0.05, 0.03, 0.02], 1),
        (GPT3, 1),
        (PILE, 1),
        ([1] * 22, 1),
        ([1, 0, 1], 0.5),
    ],
)
def test_corpus_12_every_prefix_is_near_its_share(weights: list[float], bound: float) -> None:
    assert drift(weights) <= bound + 1e-6


def test_counts_and_ranks_agree_with_the_turns() -> None:
    interleave = Interleave([0.5, 0.3, 0.2])
    source, rank = interleave.locate(np.arange(1234))
    for i in range(3):
        assert rank[source == i].tolist() == list(range(int((source == i).sum())))
        assert interleave.counts(1234)[i] == (source == i).sum()


def test_round_weights_have_a_short_cycle() -> None:
    assert Interleave([0.7, 0.3]).cycle == 10
    assert Interleave([5]).cycle == 1
    assert Interleave([2**0.5, 1]).cycle == CYCLE


@pytest.mark.parametrize(
    "weights", [[0.0, 0.0], [1.0, -0.1], [1.0, float("nan")], [1.0, float("inf")], [1, 1e-9]]
)
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="weights"):
        Interleave(weights)
