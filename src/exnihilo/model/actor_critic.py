"""A policy and the critic that tells what its states are worth, as one module for the trainer."""

from __future__ import annotations

from torch import nn

from exnihilo.model.decoder import Decoder
from exnihilo.model.scorer import Scorer


class ActorCritic(nn.Module):
    """A policy and a critic of its own, which share no weights (arXiv 2203.02155)."""

    def __init__(self, policy: Decoder, critic: Scorer) -> None:
        super().__init__()
        self.policy, self.critic = policy, critic
