"""The soft threshold keeps what its closed form says, and the same in any order."""

from __future__ import annotations

import numpy as np
import pytest

from exnihilo.corpus.pareto import draws, pareto_keeps

N = 40_000
IDS = [f"document-{i}" for i in range(N)]
SCORES = np.random.default_rng(1).random(N)


def distance(scores: np.ndarray, shape: float) -> tuple[float, float]:
    """Kolmogorov and Smirnov's statistic of the scores that stayed, and its limit at one in a thousand.

    Of uniform scores s those that stay have the density (2 - s) ** -shape, up to a factor.
    """
    sample = np.sort(scores)
    end = 2.0 ** (1 - shape)
    expected = ((2 - sample) ** (1 - shape) - end) / (1 - end)
    steps = np.arange(len(sample) + 1) / len(sample)
    statistic = max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())
    return float(statistic), 1.95 / len(sample) ** 0.5


@pytest.mark.parametrize("shape", [9.0, 3.0])
def test_the_rate_is_that_of_the_closed_form(shape: float) -> None:
    kept = pareto_keeps(IDS, SCORES, seed=1, shape=shape)
    statistic, limit = distance(SCORES[kept], shape)
    assert statistic < limit
    rate = (1 - 2.0 ** (1 - shape)) / (shape - 1)
    assert kept.sum() == pytest.approx(N * rate, abs=4 * (N * rate) ** 0.5)
    # the statistic tells: another shape, or a hard threshold that keeps as many, is far beyond
    assert distance(SCORES[pareto_keeps(IDS, SCORES, seed=1, shape=shape * 1.3)], shape)[0] > 2 * limit
    assert distance(np.sort(SCORES)[-kept.sum() :], shape)[0] > 2 * limit


def test_the_paper_s_numbers() -> None:
    for score, rate in ((1.0, 1.0), (0.5, 0.026), (0.0, 0.002)):
        kept = pareto_keeps(IDS, np.full(N, score), seed=1).mean()
        assert kept == pytest.approx(rate, abs=0.003)


def test_a_draw_is_the_document_s_own() -> None:
    assert draws(IDS[:100][::-1], seed=1)[::-1].tolist() == draws(IDS, seed=1)[:100].tolist()
    assert draws(IDS[:100], seed=1).tolist() != draws(IDS[:100], seed=2).tolist()
    raised = pareto_keeps(IDS, np.minimum(SCORES + 0.1, 1), seed=1)
    assert (raised >= pareto_keeps(IDS, SCORES, seed=1)).all()
