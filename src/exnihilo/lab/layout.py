"""Who shares what: every arm and seed as a few runs, so that each artifact is made once.

A stage is *seeded* if it makes a model or scores, or reads what such a stage made. Seeds are those of training:
data is made once, with the recipe's own seed, so that all arms and seeds meet the same held-out items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from exnihilo.core.config import references, result_config
from exnihilo.core.keys import key_of
from exnihilo.recipes.schema import Planned, Recipe
from exnihilo.recipes.wiring import Source

if TYPE_CHECKING:
    from exnihilo.lab.arms import Arm

SEEDED_KINDS = ("model", "results")
LONGEST_NAME = 40


@dataclass(frozen=True)
class Part:
    """A run of its own in the comparison's folder: the stages that one set of arms and seeds share.

    Stages of other parts are referred to by path.
    """

    name: str
    seeded: bool
    recipe: Recipe


@dataclass(frozen=True)
class Layout:
    """The parts in an order in which they can be run, and where each artifact lies."""

    parts: list[Part]
    places: dict[tuple[str, int, str], Path]
    """{(arm, seed, stage): folder}"""


def seeded_stages(recipe: Recipe) -> set[str]:
    """The stages that are made again for every seed."""
    found: set[str] = set()
    for name, planned in recipe.stages.items():
        if planned.stage.kind in SEEDED_KINDS or found.intersection(planned.needs):
            found.add(name)
    return found


def signatures(recipe: Recipe, seed: int) -> dict[str, str]:
    """For each stage a hash of all that decides its result: equal hashes, equal artifacts.

    What `core.keys` hashes of artifacts that are there, this does of ones that are yet to be made: for the
    content of an input stands the signature of the stage that makes it.
    """
    seeded = seeded_stages(recipe)
    found: dict[str, str] = {}
    for name, planned in recipe.stages.items():
        parts = {
            "verb": planned.stage.verb,
            "config": result_config(planned.config),
            "inputs": {
                field: [[one.name, found[one.stage] if one.stage else str(one.path)] for one in given]
                for field, given in planned.sources.items()
            },
            "seed": seed if name in seeded else recipe.seed,
        }
        found[name] = key_of(parts)
    return found


def affecting(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """For each stage, the varied keys on which its result depends."""
    signed = [signatures(arm.recipe, arm.recipe.seed) for arm in arms]
    stages = dict.fromkeys(stage for found in signed for stage in found)
    keys: dict[str, list[str]] = {stage: [] for stage in stages}
    for key in arms[0].settings:
        groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for arm, found in zip(arms, signed, strict=True):
            others = tuple(value for other, value in arm.settings.items() if other != key)
            groups.setdefault(others, []).append(found)
        for stage in stages:
            if any(len({found.get(stage) for found in group}) > 1 for group in groups.values()):
                keys[stage].append(key)
    return keys


def lay_out(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    root: Path,
    short: Mapping[str, str],
    *,
    made: Mapping[str, Path] | None = None,
) -> Layout:
    """Divide the stages of all arms and seeds into parts under `root`.

    `short` names the varied keys in folders. `made`: {signature: folder} of artifacts that are not to be
    made again.
    """
    keys = affecting(arms)
    placed: dict[str, Path] = dict(made or {})
    places: dict[tuple[str, int, str], Path] = {}
    stages: dict[str, dict[str, Planned]] = {}
    owners: dict[str, tuple[Arm, int, bool]] = {}
    for seed in seeds:
        for arm in arms:
            seeded, signed = seeded_stages(arm.recipe), signatures(arm.recipe, seed)
            # The stages with the fewest reasons to differ first: what they make, the others read.
            order = sorted(arm.recipe.stages, key=lambda name: (len(keys[name]), name in seeded))
            for name in order:
                part = _part_name(arm, keys[name], seed if name in seeded else None, short)
                if signed[name] not in placed:
                    placed[signed[name]] = root / part / name
                    stages.setdefault(part, {})[name] = arm.recipe.stages[name]
                    owners.setdefault(part, (arm, seed, name in seeded))
                places[arm.name, seed, name] = placed[signed[name]]
    parts = [
        _part(part, stages[part], arm, seed, seeded, root, places)
        for part, (arm, seed, seeded) in owners.items()
    ]
    return Layout(parts, places)


def _part(
    name: str,
    stages: Mapping[str, Planned],
    arm: Arm,
    seed: int,
    seeded: bool,
    root: Path,
    places: Mapping[tuple[str, int, str], Path],
) -> Part:
    ordered = [stage for stage in arm.recipe.stages if stage in stages]
    outside = {
        stage: places[arm.name, seed, stage]
        for stage in arm.recipe.stages
        if places[arm.name, seed, stage].parent != root / name
    }
    recipe = Recipe(
        name,
        seed if seeded else arm.recipe.seed,
        f"a part of a comparison: {', '.join(ordered)}",
        {stage: _rewired(stages[stage], outside) for stage in ordered},
    )
    return Part(name, seeded, recipe)


def _rewired(planned: Planned, outside: Mapping[str, Path]) -> Planned:
    """A stage with its references to stages of other parts replaced by where those lie."""
    sources = {
        field: [_moved(source, outside) for source in given] for field, given in planned.sources.items()
    }
    named = references(type(planned.config))
    update: dict[str, Any] = {}
    for attribute, field in type(planned.config).model_fields.items():
        if (field.alias or attribute) in named:
            update[attribute] = _path(getattr(planned.config, attribute), outside)
    return replace(planned, config=planned.config.model_copy(update=update), sources=sources)


def _moved(source: Source, outside: Mapping[str, Path]) -> Source:
    if source.stage is None or source.stage not in outside:
        return source
    return Source(source.name, None, outside[source.stage])


def _path(value: Any, outside: Mapping[str, Path]) -> Any:
    if isinstance(value, list):
        return [_path(one, outside) for one in value]
    return str(outside[value]) if isinstance(value, str) and value in outside else value


def _part_name(arm: Arm, keys: Sequence[str], seed: int | None, short: Mapping[str, str]) -> str:
    return ",".join(_name_parts(arm, keys, seed, short)) or "shared"


def _name_parts(arm: Arm, keys: Sequence[str], seed: int | None, short: Mapping[str, str]) -> Iterator[str]:
    for key in keys:
        yield f"{short[key]}={file_name(arm.settings[key])}"
    if seed is not None:
        yield f"seed={seed}"


def file_name(text: str) -> str:
    """A value as a part of a folder's name; what cannot stand there is told by a hash."""
    safe = re.sub(r"[^\w.+-]+", "_", text).strip("._")[:LONGEST_NAME]
    return safe if safe == text else f"{safe}-{blake3(text.encode()).hexdigest()[:6]}"
