"""A run's folder as data: its stages in order, with their manifests, metrics and samples."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exnihilo.core.artifact import MANIFEST, read_manifest
from exnihilo.core.config import read_yaml
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl

Record = dict[str, Any]


@dataclass
class StageFiles:
    """One finished stage."""

    name: str
    path: Path
    manifest: Record
    metrics: list[Record] = field(repr=False)
    samples: list[Record] = field(repr=False)

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def verb(self) -> str:
        return str(self.manifest["do"])

    @property
    def summary(self) -> Record:
        """The metrics that the stage put into its manifest."""
        return dict(self.manifest.get("metrics", {}))


@dataclass
class RunFiles:
    """A run: finished stages, parents before children, and what the run wrote about itself."""

    path: Path
    stages: list[StageFiles]
    unfinished: list[str]
    recipe: Record
    record: Record

    def of_kind(self, kind: str) -> list[StageFiles]:
        return [stage for stage in self.stages if stage.kind == kind]

    @property
    def name(self) -> str:
        return self.path.resolve().name


def read_run(path: Path) -> RunFiles:
    """Read a run's folder.

    Raises Refused for a file that cannot be read, and where no stage is finished.
    """
    if not path.is_dir():
        raise Refused(f"{path}: no such folder; give the folder of a run, such as runs/quickstart")
    if (path / MANIFEST).is_file():
        raise Refused(f"{path}: this is one artifact; a report is about a run: try {path.parent}")
    recipe = read_yaml(path / "recipe.yaml") if (path / "recipe.yaml").is_file() else {}
    record = read_json(path / "run.json") if (path / "run.json").is_file() else {}
    folders = sorted(f for f in path.iterdir() if (f / MANIFEST).is_file() and not f.name.startswith("."))
    found = {f.name: _stage(f) for f in folders if not f.name.endswith(".partial")}
    if not found:
        raise Refused(f"{path}: no finished stage here; give the folder of a run, such as runs/quickstart")
    unfinished = sorted(f.name.removesuffix(".partial") for f in path.glob("*.partial") if f.is_dir())
    return RunFiles(path, _in_order(found, list(recipe.get("stages", {}))), unfinished, recipe, record)


def read_json(path: Path) -> Record:
    """A JSON object. Raises Refused with the file and line of what is wrong."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not JSON ({error}); make the stage again") from error
    if not isinstance(value, dict):
        raise Refused(f"{path}: a JSON object is wanted, not {type(value).__name__}; make the stage again")
    return value


def _stage(folder: Path) -> StageFiles:
    records: dict[str, list[Record]] = {}
    for name in ("metrics", "samples"):
        file = folder / f"{name}.jsonl"
        records[name] = [record for _, record in read_jsonl(file)] if file.is_file() else []
    return StageFiles(folder.name, folder, read_manifest(folder), **records)


def _in_order(found: dict[str, StageFiles], recipe: list[str]) -> list[StageFiles]:
    """Parents first; among the free ones the order of the recipe, then the time they were made."""
    first = [name for name in recipe if name in found]
    rest = [name for name in found if name not in recipe]
    rest.sort(key=lambda name: str(found[name].manifest.get("created", "")))
    ordered: dict[str, StageFiles] = {}
    visited: set[str] = set()

    def place(name: str) -> None:
        if name in visited:
            return
        visited.add(name)
        for parent in parents(found[name]):
            if parent in found:
                place(parent)
        ordered[name] = found[name]

    for name in first + rest:
        place(name)
    return list(ordered.values())


def parents(stage: StageFiles) -> list[str]:
    """Names of the folders beside a stage's own that it was made from."""
    inputs = [stage.path / entry["path"] for entry in stage.manifest.get("inputs", []) if entry.get("path")]
    here = stage.path.resolve().parent
    return [path.resolve().name for path in inputs if path.resolve().parent == here]
