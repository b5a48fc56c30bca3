"""The loss of SFT against trl: the function of `SFTTrainer` that computes a linear head's cross-entropy in chunks."""

from __future__ import annotations

import pytest
import torch

from exnihilo.objectives.causal import causal
from exnihilo.objectives.linear_cross_entropy import linear_cross_entropy
from trl_trainers import assert_same, make_decoder, make_pairs, mean, packed, padded

pytest.importorskip("trl")

from trl.trainer.sft_trainer import _chunked_cross_entropy_loss


def test_losses_and_gradients_of_a_model_are_those_of_sft_trainer() -> None:
    """Of answers alone, a mean over the tokens of a batch in both; ours are packed, trl's padded. trl computes a chunk
    in float32."""
    comparisons, model = make_pairs(), make_decoder()
    inputs = padded(comparisons)
    labels = torch.where(inputs["completion_mask"] == 1, inputs["input_ids"], -100)
    hidden = model.hidden(inputs["input_ids"])
    theirs, _, _, count = _chunked_cross_entropy_loss(hidden, model.head_weight, 8, labels)
    loss = causal(model, packed(comparisons))
    assert int(loss.weight) == int(count)
    assert_same(mean(loss), theirs, list(model.parameters()), 1e-5)


def test_gradients_of_hidden_states_and_head_are_those_of_sft_trainer() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 50, 24, generator=generator).requires_grad_()
    head = torch.randn(70, 24, generator=generator).requires_grad_()
    labels = torch.randint(0, 70, (3, 50), generator=generator)
    labels[torch.rand(3, 50, generator=generator) < 0.4] = -100
    targets = labels.roll(-1, 1)
    weights = (targets != -100).float()
    weights[:, -1] = 0  # nothing follows the last position
    theirs, _, _, count = _chunked_cross_entropy_loss(hidden, head, 32, labels)
    ours, _ = linear_cross_entropy(
        hidden.flatten(0, 1), head, targets.clamp(min=0).flatten(), weights.flatten()
    )
    assert_same(ours / count, theirs, [hidden, head], 1e-5)
