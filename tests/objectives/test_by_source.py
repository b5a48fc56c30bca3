"""The loss of each source: sums that add up, and an objective that is otherwise `causal`."""

from __future__ import annotations

import pytest
import torch

from exnihilo.model.decoder import Decoder
from exnihilo.objectives.by_source import BySource, by_source
from exnihilo.objectives.causal import causal, token_losses
from exnihilo.tokens.batch import SOURCE, Batch
from random_decoder import random_decoder

SOURCES = ["code", "prose", "never"]


@pytest.fixture
def model() -> Decoder:
    shape = {"width": 16, "depth": 1, "kv_heads": 1, "head_dim": 8, "hidden": 24, "max_length": 16}
    return random_decoder(20, noise=0.3, **shape)


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(1)
    tokens = torch.randint(0, 20, (4, 12))
    weights = (torch.rand(4, 12) < 0.7).float() * torch.tensor([1.0, 1.0, 0.5, 1.0])[:, None]
    whose = torch.randint(0, 2, (4, 12))
    return Batch(
        tokens,
        torch.arange(12).repeat(4, 1),
        torch.zeros_like(tokens),
        tokens.roll(-1, 1),
        weights,
        {SOURCE: whose},
    )


def test_sums_by_source_are_those_of_its_tokens(model: Decoder, batch: Batch) -> None:
    loss = BySource(SOURCES)(model, batch)
    kept = batch.weights != 0
    losses, weights = token_losses(model, batch)
    for i, name in enumerate(SOURCES):
        mine = batch.extra[SOURCE][kept] == i
        assert loss.metrics[f"nats/{name}"].item() == pytest.approx(
            (losses * weights)[mine].sum().item(), rel=1e-5
        )
        assert loss.metrics[f"weight/{name}"].item() == pytest.approx(weights[mine].sum().item())
    nats = sum(value.item() for name, value in loss.metrics.items() if name.startswith("nats/"))
    weight = sum(value.item() for name, value in loss.metrics.items() if name.startswith("weight/"))
    assert nats == pytest.approx(loss.total.item(), rel=1e-5) and weight == pytest.approx(loss.weight.item())
    assert loss.metrics["nats/code"].item() != pytest.approx(loss.metrics["nats/prose"].item(), rel=0.01)


def test_loss_and_gradient_are_those_of_causal(model: Decoder, batch: Batch) -> None:
    ours, plain = BySource(SOURCES)(model, batch), causal(model, batch)
    assert torch.equal(ours.total, plain.total) and torch.equal(ours.weight, plain.weight)
    parameters = list(model.parameters())
    pairs = zip(
        torch.autograd.grad(ours.total, parameters), torch.autograd.grad(plain.total, parameters), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not any(value.requires_grad for value in ours.metrics.values())


def test_parts_of_a_batch_add_up_and_name_the_same_sources(model: Decoder, batch: Batch) -> None:
    """The contract of objectives: names do not depend on the data, sums of parts are the sum."""
    objective = BySource(SOURCES)
    whole = objective(model, batch)
    parts = [objective(model, part) for part in batch.split(3)]
    only_code = objective(model, batch.rows(0, 1))
    assert all(part.metrics.keys() == whole.metrics.keys() == only_code.metrics.keys() for part in parts)
    for name, value in whole.metrics.items():
        assert sum(part.metrics[name].item() for part in parts) == pytest.approx(value.item(), rel=1e-5)
    assert whole.metrics["weight/never"].item() == 0


def test_with_one_source_it_is_causal_itself() -> None:
    assert by_source(["all"]) is causal and by_source([]) is causal
    assert isinstance(by_source(["a", "b"]), BySource)
