"""The chunked log-probabilities against plain ones: values, gradients, and what is kept for them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.objectives import linear_cross_entropy as chunking
from exnihilo.objectives.linear_logprobs import linear_logprobs, linear_logprobs_entropy


def inputs(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(n, 6, dtype=dtype, requires_grad=True)
    head = torch.randn(11, 6, dtype=dtype, requires_grad=True)
    return hidden, head, torch.randint(11, (n,))


def plain(hidden: Tensor, head: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logprobs = F.log_softmax(hidden @ head.T, dim=-1)
    return logprobs.gather(1, targets[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 200])
def test_values_and_gradients_are_the_plain_ones(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "CHUNK", 64)
    given = inputs(n)
    found, entropy = linear_logprobs_entropy(*given)
    assert torch.equal(linear_logprobs(*given), found)
    expected, spread = plain(*given)
    assert torch.allclose(found, expected, atol=1e-12) and torch.allclose(entropy, spread, atol=1e-12)
    assert not entropy.requires_grad
    weights = torch.randn(n, dtype=torch.float64)
    # Not linear in the log-probabilities, as no policy's loss is.
    pairs = [
        torch.autograd.grad((one.exp() * weights).sum(), given[:2], allow_unused=True)
        for one in (found, expected)
    ]
    for ours, theirs in zip(*pairs, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_is_frozen_gets_no_gradient(frozen: int) -> None:
    given = list(inputs(20))
    given[frozen] = given[frozen].detach()
    linear_logprobs(given[0], given[1], given[2]).sum().backward()
    other = given[1 - frozen]
    expected = torch.autograd.grad(plain(given[0], given[1], given[2])[0].sum(), other)[0]
    assert given[frozen].grad is None
    assert other.grad is not None and torch.allclose(other.grad, expected, atol=1e-12)


def test_without_a_graph_no_gradient_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(Tensor, "scatter_add_", lambda self, *_: kept.append(self.numel()) or self)
    hidden, head, targets = inputs(20)
    with torch.no_grad():
        found = linear_logprobs(hidden, head, targets)
        assert torch.equal(linear_logprobs_entropy(hidden, head, targets)[0], found)
        chunking.linear_cross_entropy(hidden, head, targets, torch.ones(20, dtype=torch.float64))
    assert not kept and not found.requires_grad
    linear_logprobs(hidden, head, targets)
    assert kept == [20 * 11]


def test_bfloat16_products_stay_close_to_float32() -> None:
    hidden, head, targets = inputs(300, torch.float32)
    expected = torch.autograd.grad(plain(hidden, head, targets)[0].sum(), (hidden, head))
    with torch.autocast("cpu", torch.bfloat16):
        found, entropy = linear_logprobs_entropy(hidden, head, targets)
    assert found.dtype == entropy.dtype == torch.float32
    assert torch.allclose(found, plain(hidden, head, targets)[0], atol=0.1)
    for ours, theirs in zip(torch.autograd.grad(found.sum(), (hidden, head)), expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()
