"""Group-relative advantages against golden numbers."""

from __future__ import annotations

import pytest
import torch

from exnihilo.align.advantages import group_advantages

NAN = float("nan")


def test_grpo_3_one_success_in_eight() -> None:
    rewards = torch.tensor([[1.0] + [0.0] * 7])
    sample = group_advantages(rewards, ddof=1, eps=1e-4)[0]
    assert sample[0].item() == pytest.approx(2.474174, abs=1e-5) and sample[1].item() == pytest.approx(
        -0.353453, abs=1e-5
    )
    population = group_advantages(rewards, ddof=0, eps=1e-8)[0]
    assert population[0].item() == pytest.approx(2.645751, abs=1e-5)
    assert population[1].item() == pytest.approx(-0.377964, abs=1e-5)


def test_grpo_3_leave_one_out_is_the_centred_reward_times_g_over_g_minus_one() -> None:
    rewards = torch.tensor([[1.0] + [0.0] * 7])
    centred = group_advantages(rewards, scale=False)[0] * 8 / 7
    assert centred[0].item() == pytest.approx(1.0) and centred[1].item() == pytest.approx(-0.142857, abs=1e-6)


def test_grpo_3_equal_rewards_are_zero_not_nan() -> None:
    for value in (0.0, 1.0, -3.0):
        assert torch.equal(group_advantages(torch.full((2, 4), value)), torch.zeros(2, 4))


def test_grpo_2_a_failed_verifier_leaves_the_others_unchanged() -> None:
    with_failure = group_advantages(torch.tensor([[1.0, NAN, 0.0, 0.0]]))[0]
    without = group_advantages(torch.tensor([[1.0, 0.0, 0.0]]))[0]
    assert with_failure[1].item() == 0.0
    assert torch.allclose(with_failure[[0, 2, 3]], without)
    assert torch.equal(group_advantages(torch.full((1, 4), NAN)), torch.zeros(1, 4))
    assert torch.equal(group_advantages(torch.tensor([[1.0, NAN, NAN, NAN]])), torch.zeros(1, 4))


def test_advantages_do_not_change_under_affine_rewards() -> None:
    rewards = torch.rand(3, 8, dtype=torch.float64)
    moved = group_advantages(5 * rewards - 2, eps=0.0)
    assert torch.allclose(moved, group_advantages(rewards, eps=0.0))
