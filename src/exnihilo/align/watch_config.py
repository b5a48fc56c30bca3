"""What can be set about watching a policy for over-optimisation. Imports no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from exnihilo.core.config import Config, why

WATCH = "when to look whether the policy pleases its reward more than it deserves"
"""The description of a stage's section `watch`."""
SECOND = (
    "reward models that learned from other comparisons than the reward did; their mean score says when to stop, and "
    "is not trained on"
)
SECOND_WHY: dict[str, Any] = why(
    "none, since it takes comparisons that the reward has not seen. With it, training stops where the policy only "
    "gets better at what the reward got wrong",
    example="runs/mine/second-reward",
)
GOLD = "a reward that is recorded, and that neither training nor the stop ever reads"
GOLD_WHY: dict[str, Any] = why(
    "open: the questions' verifiers, where a reward model is trained on and every question has one; otherwise "
    "nothing",
    example="runs/mine/large-reward",
)


class WatchConfig(Config):
    """How often to look, and whether to stop."""

    every: int | None = Field(
        default=None,
        ge=1,
        description="rollouts between two looks, each with a checkpoint; none: a twentieth of the run",
        json_schema_extra=why(
            "open, a twentieth: what is gone back to is then at most that far from the best, and some rollouts "
            "together say more than one",
            example="4",
        ),
    )
    stop: bool = Field(
        default=True,
        description="stop where the second reward, less the price of the KL, has not risen for six looks, and keep "
        "the weights from before",
        json_schema_extra=why(
            "true: beyond the best the answers get worse while the reward goes on rising; without a second reward "
            "nothing stops (arXiv 2210.10760)",
            example="false",
        ),
    )
    price: float = Field(
        default=0.05,
        ge=0,
        description="what a nat of KL to the reference, of an answer, has to bring in second reward to be worth it",
        json_schema_extra=why(
            "0.05 standard deviations of the reward model's scores, as beta takes: two reward models share mistakes "
            "that only the distance tells of. 0 goes by the second reward alone",
            example="0.02",
        ),
    )
