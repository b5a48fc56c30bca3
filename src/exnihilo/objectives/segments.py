"""Numbers a segment from numbers a position, for objectives whose unit is an answer."""

from __future__ import annotations

import torch
from torch import Tensor

from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import ANSWER


def segment_ends(segments: Tensor) -> Tensor:
    """The last column of each segment, `[rows, S]` for segments `[rows, length]` numbered from 0; 0 where a row has
    fewer than S."""
    count = int(segments.max()) + 1
    columns = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    ends = segments.new_zeros(len(segments), max(count, 1))
    return ends.scatter_reduce(1, segments.clamp(min=0), columns * (segments >= 0), "amax")


def by_answer(values: Tensor, batch: Batch) -> dict[int, float]:
    """{number of the answer: its value} of values `[rows, S]` of a batch of comparisons."""
    answers = batch.extra[ANSWER].gather(1, segment_ends(batch.segments))
    there = torch.arange(answers.shape[1]) <= batch.segments.amax(1, keepdim=True)
    return dict(zip(answers[there].tolist(), values.cpu()[there].tolist(), strict=True))


def segment_sums(values: Tensor, segments: Tensor) -> Tensor:
    """Sums over the positions of each segment, `[rows, S]`; padding belongs to none."""
    count = max(int(segments.max()) + 1, 1)
    sums = values.new_zeros(len(segments), count)
    return sums.scatter_add(1, segments.clamp(min=0), torch.where(segments >= 0, values, 0.0))
