"""The chunked loss against the plain one: values, gradients, and that zero weights cost nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.objectives import linear_cross_entropy as module
from exnihilo.objectives.linear_cross_entropy import linear_cross_entropy


def inputs(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(n, 6, dtype=dtype, requires_grad=True)
    head = torch.randn(11, 6, dtype=dtype, requires_grad=True)
    weights = torch.rand(n, dtype=dtype) * (torch.rand(n) < 0.7)
    return hidden, head, torch.randint(11, (n,)), weights


def plain(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (F.cross_entropy(hidden @ head.T, targets, reduction="none") * weights).sum()


@pytest.mark.parametrize("n", [1, 63, 64, 200])
def test_loss_and_gradients_are_the_plain_ones(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 64)
    given = inputs(n)
    expected = torch.autograd.grad(plain(*given), given[:2])
    total, losses = linear_cross_entropy(*given)
    assert total.item() == pytest.approx(plain(*given).item(), rel=1e-12)
    nats = F.cross_entropy(given[0] @ given[1].T, given[2], reduction="none")
    assert torch.allclose(losses, nats * (given[3] != 0), atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(3 * total, given[:2]), expected, strict=True):
        assert torch.allclose(ours, 3 * theirs, atol=1e-12)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head, targets, weights = inputs(20)
    total, _ = linear_cross_entropy(hidden, head.detach(), targets, weights)
    total.backward()
    expected = torch.autograd.grad(plain(hidden, head, targets, weights), hidden)[0]
    assert hidden.grad is not None and torch.allclose(hidden.grad, expected, atol=1e-12)


def test_nothing_weighs_anything() -> None:
    hidden, head, targets, weights = inputs(20)
    total, losses = linear_cross_entropy(hidden, head, targets, torch.zeros_like(weights))
    total.backward()
    assert total.item() == 0 and losses.eq(0).all()
    assert hidden.grad is not None and hidden.grad.eq(0).all()


def test_bfloat16_products_stay_close_to_float32() -> None:
    hidden, head, targets, weights = inputs(300, torch.float32)
    expected = torch.autograd.grad(plain(hidden, head, targets, weights), (hidden, head))
    with torch.autocast("cpu", torch.bfloat16):
        total, losses = linear_cross_entropy(hidden, head, targets, weights)
    assert losses.dtype == total.dtype == torch.float32
    assert total.item() == pytest.approx(plain(hidden, head, targets, weights).item(), rel=5e-3)
    for ours, theirs in zip(torch.autograd.grad(total, (hidden, head)), expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_a_target_that_all_but_never_comes_has_its_whole_loss() -> None:
    hidden, head = torch.tensor([[1.0], [1.0]]), torch.tensor([[0.0], [500.0], [600.0]], requires_grad=True)
    total, losses = linear_cross_entropy(hidden, head, torch.tensor([0, 1]), torch.ones(2))
    assert losses.tolist() == [600.0, 100.0]
    total.backward()
    assert head.grad is not None and head.grad[:, 0].tolist() == [-1.0, -1.0, 2.0]
