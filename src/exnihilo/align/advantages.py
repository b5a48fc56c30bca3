"""Advantages of a group of responses to one prompt."""

from __future__ import annotations

import torch
from torch import Tensor


def group_advantages(rewards: Tensor, *, scale: bool = True, ddof: int = 1, eps: float = 1e-4) -> Tensor:
    """`(r - mean) / (std + eps)` in each row of rewards `[prompts, group]` (arXiv 2402.03300).

    NaN is a reward that nobody could give (a verifier that failed): it enters neither mean nor deviation, and its
    advantage is 0. A group of equal rewards has advantages 0. Without `scale` the centred rewards are returned,
    which do not favour prompts that are almost always or almost never solved (arXiv 2503.20783).
    """
    known = ~rewards.isnan()
    count = known.sum(dim=1, keepdim=True)
    filled = rewards.nan_to_num(0.0)
    mean = filled.sum(dim=1, keepdim=True) / count.clamp(min=1)
    centred = torch.where(known, filled - mean, 0.0)
    if not scale:
        return centred
    deviation = (centred.square().sum(dim=1, keepdim=True) / (count - ddof).clamp(min=1)).sqrt()
    return centred / (deviation + eps)
