"""When an artifact is current: the key of everything that decides its result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blake3 import blake3

from exnihilo.core import provenance
from exnihilo.core.artifact import PARTIAL, Artifact, read_manifest
from exnihilo.core.config import Config, references, result_config
from exnihilo.core.errors import Refused
from exnihilo.core.stage import Inputs, Stage


@dataclass(frozen=True)
class Status:
    """Whether a stage must run, and why: `stale` lists what differs from the artifact that is there."""

    state: Literal["cached", "stale", "missing", "partial"]
    reasons: list[str]
    key: str


def ingredients(stage: Stage, config: Config, inputs: Inputs, out: Path, seed: int) -> dict[str, Any]:
    """All that an artifact's key is made of. Raises Refused if an input is missing or of another kind."""
    records = provenance.input_records(inputs, references(stage.config), out)
    contents: dict[str, Any] = {}
    for record in records:
        field, content = record["field"], record["content"]
        if isinstance(inputs[field], Mapping):
            # The names of a list's artifacts reach the stage, which may write them (evaluate does).
            contents.setdefault(field, []).append([record["name"], content])
        else:
            contents[field] = content
    return {
        "verb": stage.verb,
        "config": provenance.portable(result_config(config), out),
        "inputs": contents,
        "seed": seed,
        "external": stage.external(config) if stage.external else None,
    }


def key_of(parts: Mapping[str, Any]) -> str:
    """blake3 of the ingredients' canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return blake3(text.encode()).hexdigest()


def status(stage: Stage, config: Config, inputs: Inputs, out: Path, *, seed: int) -> Status:
    """Whether `out` is what this stage would make now.

    Raises Refused as `ingredients` does, and if there is something else than an artifact at `out`.
    """
    parts = ingredients(stage, config, inputs, out, seed)
    key = key_of(parts)
    if not out.exists():
        return Status("partial" if out.with_name(out.name + PARTIAL).is_dir() else "missing", [], key)
    manifest = read_manifest(out)
    if manifest["key"] != key:
        return Status("stale", differences(manifest.get("ingredients", {}), parts), key)
    damage = damage_of(out)
    return Status("stale", [damage], key) if damage else Status("cached", [], key)


def damage_of(out: Path) -> str | None:
    """What is wrong with an artifact's files, or None if they are all there with their sizes."""
    try:
        Artifact.open(out)
    except Refused as error:
        return str(error)
    return None


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """The keys in which two ingredients differ: `optim.lr 0.01 -> 0.02`, `input tokens changed`."""
    if path.startswith("inputs."):
        return [] if before == now else [f"input {path.removeprefix('inputs.')} changed"]
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        found = []
        for key in [*before, *(key for key in now if key not in before)]:
            found += differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
        return found
    if before == now:
        return []
    if path == "external":
        return ["what it reads from outside changed"]
    return [f"{path.removeprefix('config.')} {json.dumps(before)} -> {json.dumps(now)}"]
