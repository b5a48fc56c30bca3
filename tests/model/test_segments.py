"""Attention over regrouped segments against a mask over the packed rows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.model.segments import regroup


def packed(lengths: list[list[int]]) -> Tensor:
    """Segments `[B, T]` of rows with segments of these lengths."""
    return torch.tensor([[i for i, n in enumerate(row) for _ in range(n)] for row in lengths])


CASES = {
    "short": [[3, 5, 1, 7], [8, 8], [1] * 16],
    "one row is a single segment": [[16], [9, 7]],
    "padding last": [[10, 6], [12, 4]],
    "long and short": [[100, 60, 40], [199, 1], [25, 25, 50, 100]],
}


@pytest.mark.parametrize("lengths", CASES.values(), ids=CASES)
def test_pack_1_attention_of_regrouped_segments_is_that_of_a_mask(lengths: list[list[int]]) -> None:
    segments = packed(lengths)
    rows, length = segments.shape
    torch.manual_seed(0)
    x = torch.randn(rows * length, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(rows, length, 2, 4, dtype=torch.float64)

    mask = (segments[:, :, None] == segments[:, None, :]).tril()[:, None]
    query, key, value = x.view(rows, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
    (gradient,) = torch.autograd.grad(expected, x, upstream)

    plan = regroup(segments)
    assert plan is not None
    mixed = []
    for part in plan.group(x):
        query, key, value = part.permute(2, 0, 3, 1, 4)
        mixed.append(F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2))
    ours = plan.ungroup(mixed).view(rows, length, 2, 4)
    assert torch.allclose(ours, expected, atol=1e-12)
    assert torch.allclose(torch.autograd.grad(ours, x, upstream)[0], gradient, atol=1e-12)


def test_rows_of_one_segment_are_left_as_they_are() -> None:
    assert regroup(torch.tensor([[0] * 9, [4] * 9])) is None


def test_filler_stays_below_half_of_a_bucket() -> None:
    generator = torch.Generator().manual_seed(0)
    cuts = torch.rand(8, 256, generator=generator) < 0.03
    plan = regroup(cuts.cumsum(1))
    assert plan is not None
    assert len(plan.buckets) <= 11
    assert sum(count * size for count, size in plan.buckets) == len(plan.slots)
    assert plan.slots[plan.back].tolist() == list(range(8 * 256))
    lengths = torch.bincount(cuts.cumsum(1).add(torch.arange(8)[:, None] * 256).flatten())
    assert len(plan.slots) < 1.5 * 8 * 256 + 8 * int((lengths > 0).sum())
