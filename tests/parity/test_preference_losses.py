"""DPO and its kin against closed forms, at pi = ref and at one golden pair (beta 0.1, lengths 5 and 8)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from exnihilo.objectives import preference as p

C, R = torch.tensor([1.3], dtype=torch.float64), torch.tensor([-0.7], dtype=torch.float64)
ZERO = torch.zeros(1, dtype=torch.float64)
LN2 = math.log(2)


def averaged_ipo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    return p.ipo(chosen / 5, rejected / 8, beta)


def normalised(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    return p.sigmoid(chosen / 5, rejected / 8, beta)


@pytest.mark.parametrize(
    ("loss", "golden", "at_start"),
    [
        (p.sigmoid, 0.598139, LN2),
        (p.hinge, 0.8, 1.0),
        (averaged_ipo, 21.645756, 25.0),
        (p.ipo, 9.0, 25.0),
        (normalised, 0.675923, LN2),
        (partial(p.robust, flipped=0.1), 0.573139, LN2),
        (partial(p.conservative, flipped=0.1), 0.618139, LN2),
        (p.nca, 1.339767, 2 * LN2),
        (p.bco, 1.289018, 2 * LN2),
        (p.sppo, 32.18, 50.0),
        (p.apo_zero, 0.950053, 1.0),
        (p.apo_down, 0.982620, 1.0),
    ],
)
def test_dpo_1_and_dpo_2_values_at_the_start_and_of_a_golden_pair(
    loss: Callable[[Tensor, Tensor, float], Tensor], golden: float, at_start: float
) -> None:
    assert loss(C, R, 0.1).item() == pytest.approx(golden, abs=1e-6)
    assert loss(ZERO, ZERO, 0.1).item() == pytest.approx(at_start, abs=1e-12)


def test_dpo_5_kto_of_both_kinds_at_two_divergences() -> None:
    ratios, desirable = torch.cat([C, R]), torch.tensor([True, False])
    for z, expected in ((0.0, (0.467546, 0.482507)), (0.5, (0.480011, 0.470036))):
        assert p.kto(ratios, desirable, z, 0.1).tolist() == pytest.approx(expected, abs=1e-6)
    below = p.kto(ratios, desirable, torch.tensor(-3.0, requires_grad=True), 0.1)
    assert torch.equal(below, p.kto(ratios, desirable, 0.0, 0.1)) and not below.requires_grad


def test_dpo_6_simpo_and_orpo_of_means() -> None:
    c, r = torch.tensor([-0.5], dtype=torch.float64), torch.tensor([-1.2], dtype=torch.float64)
    assert p.simpo(c, r, 2.0, 0.5).item() == pytest.approx(0.341154, abs=1e-6)
    term, odds = p.orpo(c, r)
    assert odds.item() == pytest.approx(1.274370, abs=1e-6) and 0.1 * term.item() == pytest.approx(
        0.024655, abs=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dpo_6_means_near_zero_and_far_below_it_have_finite_odds_and_gradients(dtype: torch.dtype) -> None:
    for low, high in ((0.0, 0.0), (-1e-12, -1e-3), (-50.0, 0.0), (-200.0, -1e-30)):
        c = torch.tensor([high], dtype=dtype, requires_grad=True)
        r = torch.tensor([low], dtype=dtype, requires_grad=True)
        term, odds = p.orpo(c, r)
        torch.autograd.backward(term.sum())
        assert math.isfinite(odds.item()) and math.isfinite(term.item())
        assert c.grad is not None and r.grad is not None
        assert not c.grad.isnan().any() and not r.grad.isnan().any()


def test_flipped_labels_are_corrected_for_by_robust_and_only_expected_by_cdpo() -> None:
    """Over labels of which a tenth is wrong, robust DPO's mean is the loss of the right ones."""
    mean = 0.9 * p.robust(C, R, 0.1, 0.1) + 0.1 * p.robust(R, C, 0.1, 0.1)
    assert mean.item() == pytest.approx(p.sigmoid(C, R, 0.1).item(), abs=1e-12)
    # cDPO's is least where σ of the margin is 0.9, and rises again beyond it.
    best = math.log(0.9 / 0.1) / 0.1
    at = [
        p.conservative(torch.tensor([x]), torch.zeros(1), 0.1, 0.1).item() for x in (best - 1, best, best + 1)
    ]
    assert at[1] < min(at[0], at[2])
