"""Equal compute: how many steps each arm takes so that all spend the same, and whether they did.

Keys such as the learning rate leave the cost of a step as it is, and all arms then take the same steps. Where
a key can change it (the model's depth, the vocabulary, the length of rows), a short probe of every arm measures
what a step costs, and each arm's steps follow from those of the first arm.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from exnihilo.core.artifact import read_manifest
from exnihilo.core.config import result_config
from exnihilo.core.errors import ConfigError
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.keys import key_of
from exnihilo.lab.arms import Arm
from exnihilo.lab.layout import affecting
from exnihilo.recipes.schema import Planned, Recipe
from exnihilo.train.config import FitConfig

Equal = Literal["flops", "steps", "time"]

TOLERANCE = {"flops": 0.02, "time": 0.1, "steps": 0.0}
"""Largest relative difference between arms that still counts as equal."""
PROBE_STEPS = (8, 32)
"""A probe takes a fiftieth of the steps, within these bounds: 8 steps of packed rows tell FLOPs to 1 %."""
HORIZONS = ("steps", "train_tokens", "epochs")
FREE = frozenset(
    {
        *("steps", "optimizer", "schedule", "clip", "outlier_sigma", "precision", "micro_rows", "compile"),
        *("beta", "temperature", "clip_low", "clip_high", "scale"),
    }
)
"""Keys of training stages that leave the FLOPs of a step as they are; any other is probed. (How long a policy's
answers become is an outcome, not a setting.)"""
BATCH = frozenset(
    {"rows", "weights", "replay", "replay_rows", "examples", "format", "prompts", "group", "families"}
    | {"anchor", "anchor_rows", "max_new"}
)
"""Keys of training stages that change what a step costs, and leave the shape of the model as it is."""
# A probe records no more than it must.
BARE: dict[str, Any] = {
    "validate_every": 0,
    "sample_every": 0,
    "checkpoint_every": 0,
    "log_every": 1,
    "validation_rows": 0,
    "sample_prompts": [],
}


def trains(planned: Planned) -> bool:
    """Whether a stage is a training stage."""
    return isinstance(planned.config, FitConfig)


def check_horizons(vary: Sequence[str], arms: Sequence[Arm], equal: Equal) -> None:
    """Raises ConfigError for a key that says how long to train, where equal compute is to say that."""
    for key in vary:
        stage, _, name = key.partition(".")
        if name.replace("-", "_") in HORIZONS and trains(arms[0].recipe.stages[stage]) and equal != "steps":
            raise ConfigError(
                f"--vary {key}: says how long to train, which --equal {equal} sets; "
                "--equal steps takes each arm as it is given"
            )


def costs_signatures(recipe: Recipe) -> dict[str, str]:
    """For each stage a hash of what decides the FLOPs of its steps: two arms with equal ones need no probe."""
    costs: dict[str, str] = {}
    # Of a model, the stages after it see the shape only: not how it was trained, nor on which batches.
    shapes: dict[str, str] = {}
    for name, planned in recipe.stages.items():
        costs[name] = _hash(planned, FREE if trains(planned) else frozenset(), shapes)
        shapes[name] = _hash(planned, FREE | BATCH, shapes) if trains(planned) else costs[name]
    return costs


def _hash(planned: Planned, without: frozenset[str], shapes: Mapping[str, str]) -> str:
    config = {key: value for key, value in result_config(planned.config).items() if key not in without}
    inputs = {
        field: [shapes[one.stage] if one.stage else str(one.path) for one in given]
        for field, given in planned.sources.items()
        if field not in without
    }
    return key_of({"verb": planned.stage.verb, "config": config, "inputs": inputs})


def to_be_probed(arms: Sequence[Arm], equal: Equal) -> list[str]:
    """The training stages of which a step may cost the arms different amounts."""
    if equal == "steps":
        return []
    keys = affecting(arms)
    costs = [costs_signatures(arm.recipe) for arm in arms]
    return [
        name
        for name, planned in arms[0].recipe.stages.items()
        if trains(planned)
        and keys[name]
        and (equal == "time" or len({found.get(name) for found in costs}) > 1)
    ]


@dataclass(frozen=True)
class Measured:
    """A training stage of the first arm as it ran: its steps, and the batch that it derived."""

    steps: int
    rows: int | None
    length: int | None


def measured(stage: Path) -> Measured:
    """What a finished training stage did."""
    metrics = read_manifest(stage)["metrics"]
    return Measured(metrics["steps"], metrics.get("rows"), metrics.get("length"))


def shortened(
    arm: Arm, first: Mapping[str, Measured], stages: Sequence[str], keys: Mapping[str, Sequence[str]]
) -> Arm:
    """The arm as a probe: its training stages that differ between arms (`keys`) cut short, no evaluation."""
    changed: dict[str, Planned] = {}
    for name, planned in arm.recipe.stages.items():
        if trains(planned) and keys[name] and name in first:
            steps = first[name].steps
            low, high = PROBE_STEPS
            short = min(steps, max(low, min(high, steps // 50)))
            planned = _with_steps(planned, short, first[name])
            bare = {key: value for key, value in BARE.items() if key in type(planned.config).model_fields}
            planned = replace(planned, config=planned.config.model_copy(update=bare))
        changed[name] = planned
    needed: set[str] = set()
    for name in reversed(list(changed)):
        if name in stages or name in needed:
            needed |= {name, *changed[name].needs}
    kept = {name: planned for name, planned in changed.items() if name in needed}
    return arm.with_recipe(replace(arm.recipe, stages=kept))


def _with_steps(planned: Planned, steps: int, first: Measured) -> Planned:
    """A training stage with so many steps, and the first arm's batch where its own is left open: how long
    to train decides a derived batch, and must not here."""
    known = type(planned.config).model_fields
    update: dict[str, Any] = {key: None for key in HORIZONS if key in known} | {"steps": steps}
    batch = {"rows": first.rows, "length": first.length}
    update |= {
        key: value
        for key, value in batch.items()
        if key in known and value is not None and getattr(planned.config, key) is None
    }
    return replace(planned, config=planned.config.model_copy(update=update))


def step_cost(stage: Path, equal: Equal) -> float:
    """What a step of a probe cost: mean FLOPs, or the median of its seconds after a quarter of the steps."""
    metrics = read_manifest(stage)["metrics"]
    if equal == "flops":
        return float(metrics["flops"]) / max(1, int(metrics["steps"]) - int(metrics["skipped"]))
    records = [record for _, record in read_jsonl(stage / "metrics.jsonl") if "time" in record]
    ends = [(0, 0.0), *((record["step"], record["time"]) for record in records)]
    seconds = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(ends)]
    # The first steps pay for what is made once: threads, caches, compiled code.
    return float(statistics.median(seconds[len(seconds) // 4 :]))


def equal_steps(
    first: Mapping[str, Measured], costs: Mapping[str, tuple[float, float]], equal: Equal
) -> dict[str, int]:
    """The steps of an arm's stages; `costs`: {stage: (cost of a step in the first arm, cost in this one)}.

    Costs that agree within half of the tolerance leave the first arm's steps as they are.
    """
    steps = {}
    for name, (reference, own) in costs.items():
        ratio = reference / own
        close = abs(ratio - 1) <= TOLERANCE[equal] / 2
        steps[name] = first[name].steps if close else max(1, round(first[name].steps * ratio))
    return steps


def with_steps(arm: Arm, steps: Mapping[str, int], first: Mapping[str, Measured]) -> Arm:
    """The arm with these steps, and the first arm's batch where its own is left open."""
    changed = {
        name: _with_steps(planned, steps[name], first[name]) if name in steps else planned
        for name, planned in arm.recipe.stages.items()
    }
    return arm.with_recipe(replace(arm.recipe, stages=changed))


@dataclass(frozen=True)
class Spent:
    """What one arm spent on a training stage, by seed, and how that compares with the first arm."""

    stage: str
    arm: str
    steps: list[int]
    flops: list[float]
    seconds: list[float]


def spent(stage: str, arm: str, folders: Sequence[Path]) -> Spent:
    """The compute of a training stage, from the manifests of its seeds."""
    metrics = [read_manifest(folder)["metrics"] for folder in folders]
    return Spent(
        stage,
        arm,
        [one["steps"] for one in metrics],
        [one["flops"] for one in metrics],
        [one["training_seconds"] for one in metrics],
    )


def furthest(spendings: Sequence[Spent], equal: Equal) -> float:
    """The largest relative difference of an arm's total from the first arm's, over the seeds.

    All training stages count that the arms do not share; by `equal` their FLOPs, steps or seconds.
    """
    totals: dict[str, list[float]] = {}
    for one in spendings:
        amounts = _amounts(one, equal)
        before = totals.get(one.arm, [0.0] * len(amounts))
        totals[one.arm] = [sum(pair) for pair in zip(before, amounts, strict=True)]
    reference, *others = totals.values()
    return max(
        (abs(own / base - 1) for other in others for own, base in zip(other, reference, strict=True) if base),
        default=0.0,
    )


def _amounts(one: Spent, equal: Equal) -> Sequence[float]:
    if equal == "flops":
        return one.flops
    return one.steps if equal == "steps" else one.seconds


def reads_different(arms: Sequence[Arm], kinds: Sequence[str]) -> bool:
    """Whether the arms differ in an artifact of one of these kinds."""
    keys = affecting(arms)
    stages = arms[0].recipe.stages
    return any(planned.stage.kind in kinds and keys[name] for name, planned in stages.items())
