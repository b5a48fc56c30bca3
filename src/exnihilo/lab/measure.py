"""From the artifacts of all arms and seeds to the comparison: `compare.json` as a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exnihilo.core.seeds import derive
from exnihilo.lab import compute, metrics
from exnihilo.lab.arms import Arm
from exnihilo.lab.compute import Equal, Spent
from exnihilo.lab.differences import FORMULAS, holm, paired, verdict
from exnihilo.lab.question import Question
from exnihilo.lab.runs import Finished

SCHEMA = 1
Record = dict[str, Any]


def measure(finished: Finished, root: Path) -> Record:
    """The whole comparison. Raises ConfigError for a metric that was not measured."""
    question = finished.question
    values, behind = _values(finished)
    first, *others = question.arms
    available = [
        metric
        for metric in values[first.name, question.seeds[0]]
        if all(metric in found for found in values.values())
    ]
    names = metrics.chosen(question.asked, available, question.per_token)
    compared = [
        _compared(metric, first, other, finished, values, behind.get(metric))
        for other in others
        for metric in names
    ]
    for one, p in zip(compared, holm([one["p"] for one in compared]), strict=True):
        one["p_holm"] = p
    spendings = [
        compute.spent(stage, arm.name, [finished.place(arm, seed, stage) for seed in question.seeds])
        for arm in question.arms
        for stage in question.trained
    ]
    return {
        "schema": SCHEMA,
        **question.definition(),
        "vary": question.vary,
        "seeds": question.seeds,
        "arms": [_arm(arm, finished, root) for arm in question.arms],
        "compute": _compute(question, spendings, finished.adjusted),
        "values": {
            arm.name: {
                metric: [values[arm.name, seed][metric] for seed in question.seeds] for metric in names
            }
            for arm in question.arms
        },
        "comparisons": compared,
        "formulas": FORMULAS,
        "notes": _notes(finished, spendings, len(compared)),
    }


def _values(finished: Finished) -> tuple[dict[tuple[str, int], metrics.Values], dict[str, str]]:
    """({(arm, seed): values by metric}, {metric: the evaluation that it comes from})."""
    question = finished.question
    found: dict[tuple[str, int], metrics.Values] = {}
    behind: dict[str, str] = {}
    for arm in question.arms:
        for seed in question.seeds:
            values: metrics.Values = {}
            for stage in question.evaluations:
                scores = metrics.score_values(finished.place(arm, seed, stage), question.models)
                values |= scores
                behind |= dict.fromkeys(scores, stage)
            for stage in question.trained:
                values |= metrics.training_values(stage, finished.place(arm, seed, stage))
            found[arm.name, seed] = values
    return found, behind


def _compared(
    metric: str,
    first: Arm,
    other: Arm,
    finished: Finished,
    values: Mapping[tuple[str, int], metrics.Values],
    evaluation: str | None,
) -> Record:
    """One metric of one arm against the first arm."""
    seeds = finished.question.seeds
    a = [values[first.name, seed][metric] for seed in seeds]
    b = [values[other.name, seed][metric] for seed in seeds]
    found = paired(a, b)
    items = None
    if evaluation is not None:
        pairs = [
            (finished.place(first, seed, evaluation), finished.place(other, seed, evaluation))
            for seed in seeds
        ]
        items = metrics.item_interval(metric, pairs, derive(0, first.name, other.name, metric))
    side = metrics.better(metric)
    return {
        "metric": metric,
        "a": first.name,
        "b": other.name,
        "better": {1: "more", -1: "less", 0: None}[side],
        **asdict(found),
        "differences": [y - x for x, y in zip(a, b, strict=True)],
        "items": items.as_dict() if items else None,
        "verdict": verdict(found, items, side),
    }


def _arm(arm: Arm, finished: Finished, root: Path) -> Record:
    stages = finished.question.arms[0].recipe.stages
    return {
        "name": arm.name,
        "settings": arm.settings,
        "artifacts": {
            str(seed): {
                stage: finished.place(arm, seed, stage).relative_to(root).as_posix()
                for stage in stages
                if (arm.name, seed, stage) in finished.layout.places
            }
            for seed in finished.question.seeds
        },
    }


def _compute(question: Question, spendings: Sequence[Spent], adjusted: Mapping[str, Any]) -> Record:
    apart = compute.furthest(spendings, question.equal) if spendings else 0.0
    return {
        "equal": question.equal,
        "tolerance": compute.TOLERANCE[question.equal],
        "largest_difference": apart,
        "agreed": apart <= compute.TOLERANCE[question.equal],
        "adjusted_steps": dict(adjusted),
        "stages": [asdict(one) for one in spendings],
    }


def _notes(finished: Finished, spendings: Sequence[Spent], count: int) -> list[str]:
    """What a reader must know before believing a number."""
    question = finished.question
    first, *others = question.arms
    notes = []
    if len(question.seeds) == 1:
        notes.append(
            "One seed: no interval is possible, so nothing can be concluded. Give --seeds 3 or more."
        )
    for arm, stages in finished.adjusted.items():
        told = ", ".join(f"{stage} {steps:,}" for stage, steps in stages.items())
        notes.append(f"Steps of {arm} for equal {_amount(question.equal)}: {told}.")
    if spendings:
        apart, allowed = compute.furthest(spendings, question.equal), compute.TOLERANCE[question.equal]
        if apart > allowed:
            notes.append(
                f"The arms' {_amount(question.equal)} differ by up to {apart:.1%}, more than {allowed:.0%}: "
                "this is no comparison at equal compute."
            )
    if not question.per_token:
        notes.append("The arms have different tokenizers: losses per token are left out.")
    for other in others:
        pairs = [
            (finished.place(first, seed, stage), finished.place(other, seed, stage))
            for seed in question.seeds[:1]
            for stage in question.evaluations
        ]
        if not metrics.same_items(pairs, question.models):
            notes.append(
                f"{first.name} and {other.name} were measured on different held-out items or text: their "
                "scores differ for that reason too. Intervals over items are of the items in common."
            )
    if count > 1:
        notes.append(
            f"{count} comparisons: of that many, {count / 20:.1f} would exclude zero by chance alone at 95 %. "
            "Name the metric that you ask about with --metric, or see p_holm, which is adjusted for it."
        )
    return notes


def _amount(equal: Equal) -> str:
    return {"flops": "training FLOPs", "steps": "steps", "time": "training time"}[equal]
