"""What a run writes about itself: recipe.yaml, which does it again, and run.json: how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from exnihilo.core import provenance
from exnihilo.core.artifact import content_of
from exnihilo.core.files import write_atomic, write_json
from exnihilo.core.machine import describe
from exnihilo.recipes.schema import Recipe

HEAD = "# Written by `exnihilo run`: every key spelled out. `exnihilo run` on this file does the run again.\n"


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2 reads as a number: PyYAML knows only 1.1's, where `1e-3` is text."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text[:1] in "0123456789+-." else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(values: Mapping[str, Any]) -> str:
    """Values as YAML that `core.config.read_yaml` reads back equal."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Write recipe.yaml, complete, its paths relative to the run's folder."""
    write_atomic(folder / "recipe.yaml", HEAD + to_yaml(recipe.written(folder)))


def write_run(
    recipe: Recipe,
    folder: Path,
    *,
    command: Sequence[str],
    brought: Sequence[Mapping[str, str]],
    stages: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write run.json: the last command, code, machine, what was brought from outside, each stage's fate."""
    record = {
        "schema": 1,
        "recipe": recipe.name,
        "command": list(command),
        "seed": recipe.seed,
        "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": provenance.code(),
        "libraries": provenance.libraries(),
        "machine": describe(),
        "inputs": [one for one in brought if one["kind"] in ("file", "folder")],
        "parents": [one for one in brought if one["kind"] not in ("file", "folder")],
        "stages": dict(stages),
    }
    write_json(folder / "run.json", record)


def brought(recipe: Recipe, folder: Path) -> list[dict[str, str]]:
    """The inputs that no stage of the recipe makes: files of the user, artifacts of other runs."""
    found = []
    for planned in recipe.stages.values():
        for field, sources in planned.sources.items():
            for path in (source.path for source in sources if source.path is not None):
                kind, content = content_of(path)
                found.append(
                    {
                        "stage": planned.name,
                        "field": field,
                        "path": provenance.relative(path, folder),
                        "kind": kind,
                        "content": content,
                    }
                )
    return found
