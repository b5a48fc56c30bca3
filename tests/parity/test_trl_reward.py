"""The reward model's loss against `RewardTrainer.compute_loss`, on the same scores and on the same model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from exnihilo.model.scorer import Scorer
from exnihilo.objectives.comparison import centring, pairwise
from exnihilo.objectives.reward import RewardComparisons
from trl_trainers import (
    AsTransformers,
    assert_same,
    make_decoder,
    make_pairs,
    mean,
    packed,
    padded,
    trainer_of,
)

pytest.importorskip("trl")

from trl import RewardTrainer

TIGHT = 1e-9


class Given(torch.nn.Module):
    """A model whose scores are these, `[2 pairs, 1]`."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self.scores)


def theirs(model: torch.nn.Module, inputs: dict[str, Tensor], centre: float | None) -> Tensor:
    args = SimpleNamespace(center_rewards_coefficient=centre)
    loss: Tensor = trainer_of(RewardTrainer, model, args=args).compute_loss(model, inputs)
    return loss


@pytest.mark.parametrize("centre", [None, 0.01])
@pytest.mark.parametrize("with_margin", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_rm_4_losses_of_scores_are_those_of_reward_trainer(
    centre: float | None, with_margin: bool, dtype: torch.dtype, tolerance: float
) -> None:
    scores = torch.randn(80, 1, generator=torch.Generator().manual_seed(0), dtype=dtype) * 5
    scores.requires_grad_()
    margin = torch.linspace(0, 2, 40, dtype=dtype)
    inputs = {"attention_mask": torch.ones(80, 3)} | ({"margin": margin} if with_margin else {})
    better, worse = scores[:40, 0], scores[40:, 0]
    ours = pairwise(better, worse, margin if with_margin else 0.0) + (centre or 0.0) * centring(better, worse)
    # Gradients of a mean over 40 pairs are small: the sum is compared.
    assert_same(40 * ours.mean(), 40 * theirs(Given(scores), inputs, centre), [scores], tolerance)


@pytest.mark.parametrize("centre", [0.0, 0.05])
@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_rm_4_losses_and_gradients_of_a_model_are_those_of_reward_trainer(
    centre: float, margin: float
) -> None:
    """trl reads a padded row an answer, each scored at its last token; ours are packed. It averages over pairs, as we
    do where a prompt has one."""
    comparisons = make_pairs(margin=margin)
    model = Scorer(make_decoder(), aspects=1).double()
    batch, padding = packed(comparisons), padded(comparisons)
    inputs = {name: padding[name] for name in ("input_ids", "attention_mask")}
    if margin:
        inputs["margin"] = torch.tensor([one.pairs[0].margin for one in comparisons], dtype=torch.float64)
        batch.extra["margin"] = batch.extra["margin"].double()
    ours = mean(RewardComparisons(centre)(model, batch))
    tolerance = 1e-6 if margin else TIGHT  # a batch's margins are float32
    found = theirs(AsTransformers(model), inputs, centre or None)
    assert_same(ours, found, list(model.parameters()), tolerance)
