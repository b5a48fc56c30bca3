"""An optimizer step as PyTorch documents it, for the peers: fused AdamW, clipping, gradients set to None."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.systems.timing import BETAS, CLIP, EPS, LR


def plain_step(
    model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], *, compiled: bool
) -> Callable[[np.ndarray], float]:
    """`step(ids) -> loss` with `loss_of(tokens, targets)`, both `[rows, length]`.

    Compiled, model and loss are one graph, so that the loss over the vocabulary is fused too.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=0.0, fused=True
    )
    function: Callable[[Tensor, Tensor], Tensor] = torch.compile(loss_of) if compiled else loss_of

    def step(ids: np.ndarray) -> float:
        rows = torch.from_numpy(ids)
        loss = function(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step
