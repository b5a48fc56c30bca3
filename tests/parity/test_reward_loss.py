"""The reward model's loss against golden values."""

from __future__ import annotations

import math

import pytest
import torch

from exnihilo.objectives.comparison import centring, pairwise

B, W = torch.tensor([0.8], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)


def test_rm_4_golden_values() -> None:
    assert pairwise(B, W).item() == pytest.approx(0.474077, abs=1e-6)
    assert pairwise(B, W, margin=0.4).item() == pytest.approx(0.644397, abs=1e-6)
    assert (pairwise(B, W) + 0.01 * centring(B, W)).item() == pytest.approx(0.486177, abs=1e-6)
    assert pairwise(W, W).item() == pytest.approx(math.log(2), abs=1e-12)
    assert pairwise(W - 1000, W).item() == pytest.approx(1000, abs=1e-9)
    assert torch.isfinite(pairwise(torch.tensor([-1000.0]), torch.tensor([0.0]))).all()


def test_a_tie_is_least_at_equal_scores_and_a_soft_label_at_its_odds() -> None:
    scores = torch.linspace(-4, 4, 801, dtype=torch.float64)
    tie = pairwise(scores, torch.zeros_like(scores), certainty=0.5)
    assert scores[tie.argmin()].item() == pytest.approx(0, abs=1e-9)
    soft = pairwise(scores, torch.zeros_like(scores), certainty=0.8)
    assert scores[soft.argmin()].item() == pytest.approx(math.log(4), abs=0.01)
