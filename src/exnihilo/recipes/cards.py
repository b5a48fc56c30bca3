"""Model cards: written when a model is made, and again with its scores when it is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from exnihilo.core.artifact import MANIFEST, Artifact, read_manifest
from exnihilo.core.model_card import write_card
from exnihilo.core.stage import Inputs


def write_cards(made: Artifact, inputs: Inputs, own: Path) -> None:
    """The card of a model just made; or, of models just evaluated, of those in the run's folder `own`."""
    if made.kind == "model":
        write_card(made.path, made.manifest)
    models = inputs.get("models")
    results = made.path / "results.json"
    if made.kind != "results" or not isinstance(models, Mapping) or not results.is_file():
        return
    scores = json.loads(results.read_text(encoding="utf-8"))["models"]
    for name, folder in models.items():
        # A model of another run, or one that the user brought, keeps the card it has.
        if folder.parent == own and (folder / MANIFEST).is_file():
            write_card(folder, read_manifest(folder), scores.get(name))
