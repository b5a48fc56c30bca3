"""What is asked: arms, seeds, metrics and what is held equal; checked whole before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exnihilo.core.errors import ConfigError
from exnihilo.lab import compute
from exnihilo.lab.arms import Arm, read_arms
from exnihilo.lab.compute import Equal
from exnihilo.lab.layout import affecting
from exnihilo.lab.metrics import check_asked


@dataclass(frozen=True)
class Question:
    """A comparison, read and checked: the arms, the first of which the others are compared with."""

    recipe: str
    vary: dict[str, list[str]]
    arms: list[Arm]
    seeds: list[int]
    equal: Equal
    asked: list[str]

    @property
    def models(self) -> list[str]:
        """The models that differ between arms."""
        keys = affecting(self.arms)
        stages = self.arms[0].recipe.stages
        return [name for name, one in stages.items() if one.stage.kind == "model" and keys[name]]

    @property
    def trained(self) -> list[str]:
        """Those of them that a training stage makes."""
        return [name for name in self.models if compute.trains(self.arms[0].recipe.stages[name])]

    @property
    def evaluations(self) -> list[str]:
        """The evaluations whose results differ between arms."""
        keys = affecting(self.arms)
        stages = self.arms[0].recipe.stages
        return [name for name, one in stages.items() if one.stage.kind == "results" and keys[name]]

    @property
    def per_token(self) -> bool:
        """Whether losses per token can be compared: the arms share their tokenizer."""
        return not compute.reads_different(self.arms, ["tokenizer"])

    def definition(self) -> dict[str, Any]:
        """What makes this comparison this one: adding values or seeds goes on with it."""
        return {"recipe": self.recipe, "keys": list(self.vary)}


def ask(
    recipe: str,
    vary: Mapping[str, Sequence[str]],
    *,
    seeds: int = 3,
    metrics: Sequence[str] = (),
    equal: Equal = "flops",
    flags: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Question:
    """Read and check a comparison; nothing is written.

    `vary`: {key: values} as `read_vary` gives it; several keys make a grid. The seeds are the recipe's (or
    `seed`) and the `seeds` - 1 after it. Raises ConfigError with one line for each problem.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds: got {seeds}; allowed: int ≥ 1 (3 or more tell something)")
    arms = read_arms(recipe, vary, flags=flags, seed=seed)
    first = arms[0].recipe
    compute.check_horizons(list(vary), arms, equal)
    numbers = [first.seed + i for i in range(seeds)]
    values = {key: list(given) for key, given in vary.items()}
    question = Question(first.name, values, arms, numbers, equal, list(metrics))
    if not question.models:
        keys = " and ".join(f"--vary {key}" for key in vary)
        raise ConfigError(
            f"{keys}: no model of {first.name} depends on it; vary what trains or feeds a model"
        )
    if not question.evaluations and not question.trained:
        keys = " and ".join(f"--vary {key}" for key in vary)
        raise ConfigError(f"{keys}: nothing that measures depends on it; add a stage that does `evaluate`")
    check_asked(metrics, question.models, question.per_token)
    return question
