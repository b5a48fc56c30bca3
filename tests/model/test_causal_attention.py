"""Attention by tiles against PyTorch's with a mask over the packed rows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model import causal_attention as tiles
from exnihilo.model.causal_attention import by_kernel, causal_attention
from exnihilo.model.segments import regroup

LENGTHS = {
    "short": [[3, 5, 1, 7], [8, 8], [1] * 16],
    "one row is a single segment": [[16], [9, 7]],
    "padding last": [[10, 6], [12, 4]],
    "long and short": [[100, 60, 40], [199, 1], [25, 25, 50, 100]],
    "whole rows": [[20], [20]],
    "tiles that don't come out even": [[130], [130]],
    "large tiles": [[290], [290]],
}
HEADS = {"as many keys": (4, 4), "shared keys": (4, 2), "one key": (3, 1)}


def packed(lengths: list[list[int]]) -> Tensor:
    """Segments `[B, T]` of rows with segments of these lengths."""
    return torch.tensor([[i for i, n in enumerate(row) for _ in range(n)] for row in lengths])


def masked(heads: Tensor, queries: int, segments: Tensor) -> Tensor:
    keys = (len(heads) - queries) // 2
    query, key, value = heads.transpose(0, 1).split([queries, keys, keys], dim=1)
    mask = (segments[:, :, None] == segments[:, None, :]).tril()[:, None]
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=1.0, enable_gqa=True
    ).transpose(1, 2)


@pytest.mark.parametrize("kept", [True, False], ids=["probabilities kept", "computed again"])
@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_pack_1_tiles_of_segments_are_attention_under_a_mask(
    lengths: list[list[int]], heads: tuple[int, int], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "KEPT_UP_TO", 1024 if kept else 0)
    torch.manual_seed(0)
    segments = packed(lengths)
    queries, keys = heads
    x = torch.randn(queries + 2 * keys, *segments.shape, 8, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(*segments.shape, queries, 8, dtype=torch.float64)
    expected = masked(x, queries, segments)
    (gradient,) = torch.autograd.grad(expected, x, upstream)
    for attention in (causal_attention, by_kernel):
        ours = attention(x, queries, regroup(segments))
        assert torch.allclose(ours, expected, atol=1e-12)
        assert torch.allclose(torch.autograd.grad(ours, x, upstream)[0], gradient, atol=1e-12)


def test_large_scores_do_not_overflow() -> None:
    torch.manual_seed(0)
    x = (100 * torch.randn(6, 1, 70, 8)).requires_grad_()
    ours = causal_attention(x, 2, None)
    assert torch.allclose(ours, masked(x, 2, torch.zeros(1, 70)), atol=1e-3)
    ours.sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_autocast_leaves_attention_in_float32() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 2, 70, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        ours = causal_attention(x, 2, None)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, causal_attention(x, 2, None))
