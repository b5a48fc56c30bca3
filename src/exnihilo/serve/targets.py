"""What a path given to `chat` holds: one model, or the models and held-out questions of a run."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exnihilo.core.artifact import MANIFEST, Artifact, read_manifest
from exnihilo.core.config import read_yaml
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl

ROLES = {"pretrain": "base", "sft": "sft"}
"""What a stage of this verb makes; every other stage that makes a model aligns it."""
HELD_OUT = "held_out.jsonl"


@dataclass(frozen=True)
class Served:
    """A model: its stage's name, its folder, its role ("base", "sft", "aligned"; "model" without a
    manifest)."""

    name: str
    folder: Path
    role: str


@dataclass
class Target:
    """Models in the order of the recipe, and the run's held-out items by their question."""

    name: str
    models: list[Served]
    items: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def last(self) -> Served:
        """The model to talk to: the last aligned one, or else the last."""
        return next((m for m in reversed(self.models) if m.role == "aligned"), self.models[-1])

    @property
    def line(self) -> list[Served]:
        """The model to talk to and the models it was made from, the first ancestor first."""
        by_folder = {model.folder.resolve(): model for model in self.models}
        line = [self.last]
        while (folder := _parent(line[0].folder)) in by_folder and by_folder[folder] not in line:
            line.insert(0, by_folder[folder])
        return line

    def questions(self, draw: int = 0, count: int = 12) -> list[dict[str, str]]:
        """About `count` held-out questions, equally many from each family; `draw` chooses others."""
        families: dict[str, list[str]] = {}
        for question, item in self.items.items():
            families.setdefault(str(item["family"]), []).append(question)
        each = max(1, round(count / max(1, len(families))))
        rng = random.Random(draw)
        return [
            {"family": family, "question": question}
            for family, questions in families.items()
            for question in rng.sample(questions, min(each, len(questions)))
        ]


def find(path: Path) -> Target:
    """Read a model's folder or a run's. Raises Refused where there is neither, saying what there is."""
    if not path.is_dir():
        raise Refused(
            f"{path}: no such folder; give the folder of a model or of a run, such as runs/quickstart"
        )
    if (path / "config.json").is_file():
        run = path.resolve().parent
        items = _items(_stages(run)) if (run / "recipe.yaml").is_file() else {}
        return Target(path.resolve().name, [_served(path)], items)
    if (path / MANIFEST).is_file():
        raise Refused(f"{path}: an artifact of kind {read_manifest(path)['kind']}; give a model or a run")
    stages = _stages(path)
    models = [_served(stage) for stage in stages if read_manifest(stage)["kind"] == "model"]
    if not models:
        raise Refused(f"{path}: no finished model here; give the folder of a model or of a run that has one")
    return Target(path.resolve().name, models, _items(stages))


def _stages(run: Path) -> list[Path]:
    """Folders of the finished stages: in the recipe's order, then by the time they were made."""
    recipe = read_yaml(run / "recipe.yaml") if (run / "recipe.yaml").is_file() else {}
    order = {name: place for place, name in enumerate(recipe.get("stages", {}))}
    found = [
        folder for folder in run.iterdir() if (folder / MANIFEST).is_file() and folder.suffix != ".partial"
    ]
    return sorted(
        found, key=lambda f: (order.get(f.name, len(order)), str(read_manifest(f).get("created", "")), f.name)
    )


def _served(folder: Path) -> Served:
    if not (folder / MANIFEST).is_file():
        return Served(folder.resolve().name, folder, "model")
    manifest = Artifact.open(folder, kind="model").manifest
    return Served(folder.resolve().name, folder, ROLES.get(str(manifest.get("do")), "aligned"))


def _parent(folder: Path) -> Path | None:
    """The folder of the model that the one in `folder` was trained from."""
    if not (folder / MANIFEST).is_file():
        return None
    inputs = [i for i in read_manifest(folder).get("inputs", []) if i["kind"] == "model" and i.get("path")]
    return Path(os.path.normpath(folder.resolve() / inputs[0]["path"])) if inputs else None


def _items(stages: list[Path]) -> dict[str, dict[str, Any]]:
    """Items of one user message that can be checked, by that message."""
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        if read_manifest(stage)["kind"] == "examples" and (stage / HELD_OUT).is_file():
            for _, item in read_jsonl(stage / HELD_OUT):
                messages = item.get("messages", [])
                if len(messages) == 1 and {"family", "answer", "verifier"} <= item.keys():
                    found[messages[0]["content"]] = item
    return found
