from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import causal, token_losses
from exnihilo.tokens.batch import Batch
from random_decoder import random_decoder


@pytest.fixture
def model() -> Decoder:
    return random_decoder(20, noise=0.3, width=16, kv_heads=1, head_dim=8, hidden=24, max_length=16)


def batch_of(weights: torch.Tensor) -> Batch:
    rows, length = weights.shape
    tokens = torch.arange(rows * length).view(rows, length) * 7 % 20
    positions = torch.arange(length).repeat(rows, 1)
    return Batch(tokens, positions, torch.zeros_like(tokens), tokens.roll(-1, 1), weights)


def test_sum_over_weights(model: Decoder) -> None:
    weights = torch.zeros(3, 8)
    weights[0, 2], weights[1, :5], weights[2, 7] = 1.0, 0.5, 3.0
    batch = batch_of(weights)
    loss = causal(model, batch)
    log_probabilities = model(batch.tokens, batch.positions, batch.segments).log_softmax(-1)
    nats = -log_probabilities.gather(-1, batch.targets[..., None])[..., 0]
    assert loss.total.item() == pytest.approx((nats * weights).sum().item(), rel=1e-6)
    assert loss.weight.item() == 1 + 2.5 + 3
    losses, kept = token_losses(model, batch)
    assert losses.shape == kept.shape == (7,)
    assert torch.allclose(losses, nats[weights != 0], atol=1e-6)


def test_pack_5_a_single_trained_token_gives_exactly_its_loss(model: Decoder) -> None:
    weights = torch.zeros(1, 8)
    weights[0, 4] = 1.0
    batch = batch_of(weights)
    logits = model(batch.tokens)[0, 4]
    expected = F.cross_entropy(logits, batch.tokens[0, 5])
    assert causal(model, batch).total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_gradient_comes_from_weighted_tokens_alone(model: Decoder) -> None:
    weights = torch.zeros(2, 8)
    weights[0, 3] = 1.0
    batch = batch_of(weights)
    before = torch.autograd.grad(causal(model, batch).total, model.embedding.weight)[0]
    # Changed targets without weight, and tokens after the trained one, change neither loss nor gradient.
    batch.targets[0, 5], batch.tokens[0, 6], batch.tokens[1] = 19, 18, 17
    after = torch.autograd.grad(causal(model, batch).total, model.embedding.weight)[0]
    assert torch.allclose(before, after, atol=1e-6)


def test_batch_without_weight_is_zero_and_differentiable(model: Decoder) -> None:
    loss = causal(model, batch_of(torch.zeros(2, 8)))
    loss.total.backward()
    assert loss.total.item() == 0 and loss.weight.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_model_2_no_dropout_two_passes_are_bit_equal(model: Decoder) -> None:
    """The decoder has no dropout to leave on: its config refuses the key, and a pass in training mode is exact."""
    batch = batch_of(torch.ones(2, 8))
    model.train()
    assert torch.equal(causal(model, batch).total, causal(model, batch).total)
    model.eval()
    in_evaluation = causal(model, batch).total
    model.train()
    assert torch.equal(in_evaluation, causal(model, batch).total)
    assert not any("dropout" in type(module).__name__.lower() for module in model.modules())
    with pytest.raises(ValueError, match="dropout"):
        DecoderConfig(**model.config.model_dump(), dropout=0.1)


def test_filler_positions_of_a_large_batch_change_neither_loss_nor_gradient() -> None:
    from exnihilo.model.config import DecoderConfig
    from exnihilo.model.decoder import Decoder as Real
    from exnihilo.tokens.batch import Batch as Rows

    torch.manual_seed(0)
    shape = {
        "width": 16,
        "depth": 1,
        "heads": 1,
        "kv_heads": 1,
        "head_dim": 16,
        "hidden": 16,
        "max_length": 256,
    }
    model = Real(DecoderConfig(vocab_size=30, **shape)).double()
    tokens, row = torch.randint(0, 30, (4, 256)), torch.arange(256).expand(4, 256)
    weights = (torch.rand(4, 256) < 0.6).double()
    assert weights.sum() >= 512 and weights.sum() % 64 != 0
    found = causal(model, Rows(tokens, row, torch.zeros_like(row), tokens.roll(-1, 1), weights))
    logits = model(tokens).flatten(0, 1)
    plain = torch.nn.functional.cross_entropy(logits, tokens.roll(-1, 1).flatten(), reduction="none")
    expected = (plain * weights.flatten()).sum()
    assert torch.allclose(found.total, expected, rtol=1e-12)
    ours, theirs = (torch.autograd.grad(loss, list(model.parameters())) for loss in (found.total, expected))
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(ours, theirs, strict=True))
