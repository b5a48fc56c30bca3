"""Regrouped segments: every token has its place, whatever the number of heads."""

from __future__ import annotations

import torch

from exnihilo.model.segments import regroup


def test_every_head_of_every_token_is_found_again() -> None:
    segments = torch.tensor([[0, 0, 0, 1, 1, 2, 3, 3], [0] * 8, [5, 5, 5, 5, 5, 5, 7, 8]])
    plan = regroup(segments)
    assert plan is not None
    for heads in (1, 2, 5):
        x = torch.arange(heads * 24.0).view(heads, 24, 1)
        slots = plan.spread(x)
        assert torch.equal(slots[plan.places(heads)], x)
        blocks = plan.blocks(slots, heads)
        assert [tuple(block.shape[:3]) for block in blocks] == [(heads, *size) for size in plan.sizes]
        # In a block, a head's segment lies in one piece, and what fills it up repeats its last token.
        for head in range(heads):
            found = [row[row >= 0].unique().tolist() for block in blocks for row in block[head, :, :, 0]]
            starts = sorted(row[0] - 24 * head for row in found)
            assert starts == [0, 3, 5, 6, 8, 16, 22, 23]
            assert sum(map(len, found)) == 24


def test_rows_of_one_segment_are_left_as_they_are() -> None:
    assert regroup(torch.tensor([[0] * 9, [4] * 9])) is None


def test_filler_stays_below_half_of_a_bucket() -> None:
    generator = torch.Generator().manual_seed(0)
    cuts = torch.rand(8, 256, generator=generator) < 0.03
    plan = regroup(cuts.cumsum(1))
    assert plan is not None
    assert len(plan.sizes) <= 11
    assert sum(count * size for count, size in plan.sizes) == len(plan.slots)
    assert plan.slots[plan.back].tolist() == list(range(8 * 256))
    lengths = torch.bincount(cuts.cumsum(1).add(torch.arange(8)[:, None] * 256).flatten())
    assert len(plan.slots) < 1.5 * 8 * 256 + 8 * int((lengths > 0).sum())


def test_what_others_continue_lies_before_each_of_them() -> None:
    segments = torch.tensor([[0, 0, 1, 1, 1, 2, -1, -1], [0, 1, 2, 2, 3, 3, 3, -1]])
    prefixes = torch.tensor([[0, 0, 1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0]])
    plan = regroup(segments, prefixes)
    assert plan is not None
    for heads in (1, 3):
        x = torch.arange(heads * 16.0).view(heads, 16, 1)
        slots = plan.spread(x)
        assert torch.equal(slots[plan.places(heads)], x)
        blocks = plan.blocks(slots, heads)
        for head in range(heads):
            rows = [(row - 16 * head).tolist() for block in blocks for row in block[head, :, :, 0]]
            found = sorted([int(i) for i in dict.fromkeys(row)] for row in rows)
            assert found == [[0, 1, 2, 3, 4], [0, 1, 5], [6, 7], [8, 9], [8, 10, 11], [12, 13, 14], [15]]
        ones = torch.zeros(len(slots), 1)
        ones[plan._of_heads(plan.copies[0], heads).flatten()] = 1.0  # type: ignore[index]
        assert plan.gather(ones, heads).view(heads, 2, 8)[0].tolist() == [
            [2, 2, 1, 1, 1, 1, 1, 1],
            [2, 1, 1, 1, 1, 1, 1, 1],
        ]
