"""PPO's rewards, advantages and whitening against golden vectors and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exnihilo.align.gae import generalised_advantages, token_rewards, whiten

GOLDEN_KL = torch.tensor([[0.01, 0.02, -0.01, 0.03]], dtype=torch.float64)
VALUES = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
ALL = torch.ones(1, 4, dtype=torch.bool)
ADVANTAGES = [0.79739019, 0.73462125, 0.669075, 0.5985]


def test_ppo_3_golden_advantages_returns_and_whitening() -> None:
    rewards = token_rewards(torch.ones(1, dtype=torch.float64), GOLDEN_KL, ALL, beta=0.05)
    advantages, returns = generalised_advantages(rewards, VALUES, ALL)
    assert advantages[0].tolist() == pytest.approx(ADVANTAGES, abs=1e-8)
    assert returns[0].tolist() == pytest.approx([0.89739019, 0.93462125, 0.969075, 0.9985], abs=1e-8)
    whitened = whiten(advantages, ALL)[0].tolist()
    assert whitened == pytest.approx([1.31633699, 0.46884451, -0.41614663, -1.36903486], abs=1e-7)
    whitened = whiten(advantages, ALL, ddof=1)[0].tolist()
    assert whitened == pytest.approx([1.13998153, 0.40603135, -0.36039364, -1.18561924], abs=1e-7)


@pytest.mark.parametrize(("last", "first"), [(3, 0.857375), (4, 0.814506)])
def test_ppo_2_the_score_lands_on_the_last_token_of_the_response(last: int, first: float) -> None:
    mask = (torch.arange(6) <= last)[None]
    rewards = token_rewards(torch.ones(1), torch.zeros(1, 6), mask, beta=0.0)
    assert rewards.nonzero().tolist() == [[0, last]]
    advantages, _ = generalised_advantages(rewards, torch.zeros(1, 6), mask)
    assert advantages[0, 0].item() == pytest.approx(first, abs=1e-6)


def test_advantages_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(5, 9)), rng.normal(size=(5, 9))
    for gamma, lam in ((1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.97, 0.0)):
        found, _ = generalised_advantages(
            torch.tensor(rewards),
            torch.tensor(values),
            torch.ones(5, 9, dtype=torch.bool),
            gamma=gamma,
            lam=lam,
        )
        for b in range(5):
            for t in range(9):
                total = 0.0
                for k in range(t, 9):
                    following = values[b, k + 1] if k < 8 else 0.0
                    total += (gamma * lam) ** (k - t) * (rewards[b, k] + gamma * following - values[b, k])
                assert found[b, t].item() == pytest.approx(total, abs=1e-12)


def test_lambda_1_is_monte_carlo() -> None:
    rewards, values = torch.randn(3, 7).double(), torch.randn(3, 7).double()
    _, returns = generalised_advantages(rewards, values, torch.ones(3, 7, dtype=torch.bool), lam=1.0)
    assert torch.allclose(returns, rewards.flip(1).cumsum(1).flip(1))


def test_ppo_4_padding_and_what_stands_on_it_change_nothing() -> None:
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    values, kl = torch.randn(2, 4).double(), torch.randn(2, 4).double()
    score = torch.tensor([1.0, -2.0], dtype=torch.float64)

    def through(values: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rewards = token_rewards(score, kl, mask, 0.1)
        return whiten(generalised_advantages(rewards, values, mask)[0], mask)

    expected = through(values, kl, mask)
    more = torch.full((2, 3), float("nan"), dtype=torch.float64)
    padded = [torch.cat([x.masked_fill(~mask, float("nan")), more], 1) for x in (values, kl)]
    found = through(*padded, torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], 1))
    assert torch.allclose(found[:, :4], expected, atol=1e-12) and not found[:, 4:].any()


def test_ppo_9_tokens_of_tools_change_no_advantage() -> None:
    values, kl, score = torch.randn(1, 4).double(), torch.randn(1, 4).double(), torch.ones(1).double()
    expected, _ = generalised_advantages(token_rewards(score, kl, ALL, 0.1), values, ALL)
    places = [0, 1, 5, 7]  # tools wrote 2 to 4, and 6
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, places] = True
    wide_values, wide_kl = torch.full((1, 9), 7.0).double(), torch.full((1, 9), 3.0).double()
    wide_values[0, places], wide_kl[0, places] = values[0], kl[0]
    found, _ = generalised_advantages(token_rewards(score, wide_kl, mask, 0.1), wide_values, mask)
    assert torch.allclose(found[0, places], expected[0]) and not found[~mask].any()
