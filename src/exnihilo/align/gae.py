"""What each token of a response was worth: rewards a token, generalised advantages, returns, whitening (PPO)."""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(score: Tensor, divergence: Tensor, mask: Tensor, beta: float) -> Tensor:
    """`-β·KL_t` at each response token, and the score at the last of them: `[B, T]` (arXiv 1909.08593).

    `score` is `[B]`; `divergence` `[B, T]` is log π(sampled) - log π_ref (k1: in the reward its gradient is KL's);
    `mask` (bool `[B, T]`) marks the tokens that the policy chose. Elsewhere the reward is 0, whatever stands there.
    """
    rewards = torch.where(mask, -beta * divergence, 0.0)
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, columns, -1).amax(dim=1)
    return rewards + torch.where(columns == last[:, None], score[:, None], 0.0)


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Advantages and returns `[B, T]` (arXiv 1506.02438): `A_t = Σ (γλ)^k δ_{t+k}`, `R_t = A_t + V_t`, both 0 where the
    mask is.

    Only tokens that the policy chose are steps: what a tool wrote between two of them neither delays nor discounts
    what came after it. Nothing follows the last one.
    """
    advantages = torch.zeros_like(values)
    running, following = values.new_zeros(len(values)), values.new_zeros(len(values))
    for t in range(values.shape[1] - 1, -1, -1):
        here = mask[:, t]
        surprise = rewards[:, t] + gamma * following - values[:, t]
        running = torch.where(here, surprise + gamma * lam * running, running)
        following = torch.where(here, values[:, t], following)
        advantages[:, t] = torch.where(here, running, 0.0)
    return advantages, torch.where(mask, advantages + values, 0.0)


def whiten(x: Tensor, mask: Tensor, *, ddof: int = 0, eps: float = 1e-8) -> Tensor:
    """`(x - mean) / √(var + eps)` over the marked tokens of the whole batch; 0 elsewhere."""
    kept = x[mask]
    variance = kept.var(correction=ddof) if len(kept) > ddof else kept.new_zeros(())
    return torch.where(mask, (x - kept.mean()) * (variance + eps).rsqrt(), 0.0)
