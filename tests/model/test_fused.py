"""The written-out gradients against those of the plain formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model.fused import normalised_and_turned, rms_norm, swiglu, turn
from exnihilo.model.layers import rotary_table


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


def plain_heads(heads: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    turned = len(weight)
    normed = F.rms_norm(heads[..., :turned, :], heads.shape[-1:], eps=eps) * weight
    by_token = torch.cat((rotated(normed, cos, sin), heads[..., turned:, :]), dim=-2)
    return by_token.permute(2, 0, 1, 3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_rms_norm_is_torchs_with_its_gradient() -> None:
    x, weight = random(3, 5, 8), random(8)
    assert torch.allclose(rms_norm(x, weight, 1e-3), F.rms_norm(x, (8,), weight, 1e-3), atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-3), (x, weight))


@pytest.mark.parametrize("packed", [True, False])
def test_heads_are_normalised_and_turned_and_values_are_not(packed: bool) -> None:
    heads, weight = random(2, 5, 7, 6), random(4, 6)
    cos, sin = (table.double() for table in rotary_table(16, 6, 10_000.0))
    at = torch.randint(16, (2, 5)) if packed else torch.arange(5)
    cos, sin = cos[at].unsqueeze(-2), sin[at].unsqueeze(-2)
    ours = normalised_and_turned(heads, weight, cos, sin, 1e-3)
    assert torch.allclose(ours, plain_heads(heads, weight, cos, sin, 1e-3), atol=1e-12)
    assert torch.equal(ours[4:], heads[..., 4:, :].permute(2, 0, 1, 3))
    assert torch.autograd.gradcheck(lambda h, w: normalised_and_turned(h, w, cos, sin, 1e-3), (heads, weight))


def test_swiglu_gates_with_the_first_half() -> None:
    gate_up = random(3, 10)
    gate, up = gate_up.chunk(2, dim=-1)
    assert torch.allclose(swiglu(gate_up), F.silu(gate) * up, atol=1e-12)
    assert torch.autograd.gradcheck(swiglu, (gate_up,))


def test_turn_and_its_inverse_keep_a_head() -> None:
    x = torch.randn(4, 1, 8)
    cos, sin = (table[3:7, None] for table in rotary_table(16, 8, 10_000.0))
    assert torch.allclose(turn(turn(x, cos, sin), cos, -sin), x, atol=1e-6)


def test_gradients_under_autocast_come_back_in_the_dtype_of_the_heads() -> None:
    heads = random(2, 3, 3, 8, dtype=torch.bfloat16)
    weight = random(2, 8, dtype=torch.float32)
    cos, sin = (table[:3, None] for table in rotary_table(16, 8, 10_000.0))
    out = normalised_and_turned(heads, weight, cos, sin, 1e-6)
    assert out.dtype == torch.float32
    out.sum().backward()
    assert heads.grad is not None and heads.grad.dtype == torch.bfloat16
    exact = heads.detach().float().requires_grad_()
    plain_heads(exact, weight, cos, sin, 1e-6).sum().backward()
    assert exact.grad is not None
    assert torch.allclose(heads.grad.float(), exact.grad, atol=2e-2)
