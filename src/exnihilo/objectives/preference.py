"""Losses of preference optimisation without a reward model: DPO (arXiv 2305.18290) and its kin, as pure functions.

All take and return one number for each pair (or answer), so that who calls them decides how they are summed. `chosen`
and `rejected` are log-ratios log π(y|x) - log π_ref(y|x), in nats, summed over an answer's tokens with its end token;
where a loss wants means a token instead, its arguments say so. Betas of sums and of means are not comparable.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """DPO: `-log σ(β(c - r))` (arXiv 2305.18290); ln 2 where policy and reference agree."""
    return -F.logsigmoid(beta * (chosen - rejected))


def hinge(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """`max(0, 1 - β(c - r))` (SLiC, arXiv 2305.10425)."""
    return F.relu(1 - beta * (chosen - rejected))


def ipo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """`(c - r - 1/2β)²` (arXiv 2310.12036). Of sums as in the paper, or of means a token, as its authors advise where
    answers differ in length: the caller divides."""
    return (chosen - rejected - 1 / (2 * beta)).square()


def conservative(chosen: Tensor, rejected: Tensor, beta: float, flipped: float) -> Tensor:
    """cDPO: cross-entropy where a share `flipped` of the labels is wrong (Mitchell 2023)."""
    margin = beta * (chosen - rejected)
    return -(1 - flipped) * F.logsigmoid(margin) - flipped * F.logsigmoid(-margin)


def robust(chosen: Tensor, rejected: Tensor, beta: float, flipped: float) -> Tensor:
    """DPO's loss without bias where a share `flipped`, below a half, of the labels is wrong (arXiv 2403.00409)."""
    margin = beta * (chosen - rejected)
    return (-(1 - flipped) * F.logsigmoid(margin) + flipped * F.logsigmoid(-margin)) / (1 - 2 * flipped)


def nca(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Noise-contrastive alignment of a pair (arXiv 2402.05369): the chosen answer's own probability must not fall."""
    c, r = beta * chosen, beta * rejected
    return -F.logsigmoid(c) - 0.5 * F.logsigmoid(-c) - 0.5 * F.logsigmoid(-r)


def bco(chosen: Tensor, rejected: Tensor, beta: float, shift: float | Tensor = 0.0) -> Tensor:
    """Binary classification of both answers (arXiv 2404.04656); `shift` is the running mean of the rewards."""
    return -F.logsigmoid(beta * chosen - shift) - F.logsigmoid(-(beta * rejected - shift))


def sppo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Self-play preference optimisation with certain labels (arXiv 2405.00675)."""
    return (chosen - 0.5 / beta).square() + (rejected + 0.5 / beta).square()


def apo_zero(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Anchored: chosen answers up, rejected ones down (arXiv 2408.06266); for a policy worse than what was chosen."""
    return 1 - torch.sigmoid(beta * chosen) + torch.sigmoid(beta * rejected)


def apo_down(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Anchored: both down, the rejected one further; for a policy better than what was chosen."""
    return torch.sigmoid(beta * chosen) + 1 - torch.sigmoid(beta * (chosen - rejected))


def kto(ratios: Tensor, desirable: Tensor, divergence: Tensor | float, beta: float) -> Tensor:
    """KTO (arXiv 2402.01306): `1 - σ(β(ρ - z))` for answers marked `desirable` (bool), `1 - σ(β(z - ρ))` for others.

    `divergence` z is an estimate of KL(π‖π_ref) from prompts with answers to other prompts, at least 0 and without a
    gradient.
    """
    z = torch.as_tensor(divergence, dtype=ratios.dtype, device=ratios.device).detach().clamp(min=0)
    sign = torch.where(desirable, 1.0, -1.0)
    return 1 - torch.sigmoid(sign * beta * (ratios - z))


def simpo(chosen_mean: Tensor, rejected_mean: Tensor, beta: float, margin: float) -> Tensor:
    """SimPO (arXiv 2405.14734): `-log σ(β(c - r) - γ)` of mean log-probabilities a token, without a reference."""
    return -F.logsigmoid(beta * (chosen_mean - rejected_mean) - margin)


def orpo(chosen_mean: Tensor, rejected_mean: Tensor) -> tuple[Tensor, Tensor]:
    """ORPO's term `-log σ(log odds ratio)` (arXiv 2403.07691) of mean log-probabilities a token, and the log odds
    ratio.

    The loss is the chosen answer's cross-entropy plus β times the term.
    """
    odds = (chosen_mean - rejected_mean) - (_log1mexp(chosen_mean) - _log1mexp(rejected_mean))
    return -F.logsigmoid(odds), odds


def _log1mexp(x: Tensor) -> Tensor:
    """`log(1 - exp x)` of x ≤ 0, exact near 0 and far from it. 0 itself counts as the number before it: its odds would
    be infinite."""
    x = x.clamp(max=-torch.finfo(x.dtype).tiny)
    near = x > -0.6931471805599453  # ln 2: where either form is exact
    # Each form only sees numbers where it is finite, or the gradient of the other would be NaN.
    small = torch.log(-torch.expm1(torch.where(near, x, -1.0)))
    large = torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    return torch.where(near, small, large)
