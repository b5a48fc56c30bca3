"""Checkpoints: whole or absent, verified when read, independent of the number of processes.

step-00001000/
  model.safetensors       parameters by name
  optimizer.safetensors   optimizer state by name
  state.json              step, counters, scalars of the data order, config; hashes of both files and its own
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.core.files import file_hash, sync, sync_folder, write_json

STATE = "state.json"
TENSORS = ("model.safetensors", "optimizer.safetensors")
NAME = re.compile(r"step-(\d{8})")


def name_of(step: int) -> str:
    """The folder of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory; `step` steps have been done."""

    path: Path
    step: int
    state: dict[str, Any]
    parameters: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def save_checkpoint(
    folder: Path,
    step: int,
    parameters: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> Path:
    """Write `folder/step-<step>`: aside, made durable, then renamed. Raises ExnihiloError when the disk
    refuses."""
    target = folder / name_of(step)
    aside = folder / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        hashes = {}
        for name, tensors in zip(TENSORS, (parameters, optimizer), strict=True):
            save_file({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, aside / name)
            sync(aside / name)
            hashes[name] = file_hash(aside / name)
        record = {"step": step, "files": hashes, **state}
        write_json(aside / STATE, {**record, "hash": _hash(record)})
        sync_folder(aside)
        # A folder of this name is broken or of an abandoned line of training: a sound one is never made
        # twice.
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        raise ExnihiloError(
            f"{target}: cannot write the checkpoint ({error}); free space and run again"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def amend_checkpoint(path: Path, step: int, state: Mapping[str, Any]) -> None:
    """Replace the scalars of a checkpoint, in one rename; its tensors stay. Raises ExnihiloError as above."""
    before = json.loads((path / STATE).read_text(encoding="utf-8"))
    record = {"step": step, "files": before["files"], **state}
    write_json(path / STATE, {**record, "hash": _hash(record)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint after comparing every file with its hash. Raises Refused if it is missing or
    altered."""
    try:
        record = json.loads((path / STATE).read_text(encoding="utf-8"))
        stated = record.pop("hash")
    except FileNotFoundError as error:
        raise Refused(f"{path}: no {STATE} there, so this is no checkpoint; give the path of one") from error
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError) as error:
        raise Refused(f"{path / STATE}: broken; use another checkpoint") from error
    if _hash(record) != stated:
        raise Refused(f"{path / STATE}: altered since it was written; use another checkpoint")
    for name, expected in record["files"].items():
        if not (path / name).is_file() or file_hash(path / name) != expected:
            raise Refused(f"{path / name}: missing or altered since it was written; use another checkpoint")
    parameters, optimizer = (load_file(path / name) for name in TENSORS)
    return Checkpoint(path, record["step"], record, parameters, optimizer)


def complete(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, the latest first. One being written has another name."""
    found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, reverse=True)


def oldest(folder: Path) -> int:
    """The step of the earliest checkpoint in `folder`; 0 where there is none."""
    return min((int(path.name.removeprefix("step-")) for path in complete(folder)), default=0)


def prune(folder: Path, keep: int, *others: int | None) -> None:
    """Remove all but the last `keep` checkpoints and those of the steps `others`."""
    kept = {name_of(step) for step in others if step is not None}
    for path in complete(folder)[keep:]:
        if path.name not in kept:
            shutil.rmtree(path)


def discard_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps, which belong to a line of training that has been left, and what
    a killed process left half written."""
    for path in folder.glob(".step-*.tmp"):
        shutil.rmtree(path)
    for path in complete(folder):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


def resume_from(folder: Path, resume: str) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to go on from, if any, and remarks on those that could not be used.

    `resume` is "auto" (the latest sound one in `folder`, if any), "must" (as auto, but there has to be one),
    "never" (start anew) or the path of a checkpoint, or of a folder of some.

    Raises:
        Refused: "must" or a path without a sound checkpoint.
    """
    if resume not in ("auto", "must", "never"):
        path = Path(resume)
        chosen, remarks = _first_sound(path) if complete(path) else (load_checkpoint(path), [])
        if chosen is None:
            raise Refused(f"{path}: {'; '.join(remarks)}")
    else:
        chosen, remarks = (None, []) if resume == "never" else _first_sound(folder)
        if chosen is None and resume == "must":
            raise Refused("; ".join(remarks) or f"{folder}: no checkpoint to resume from; use --resume auto")
    return chosen, remarks


def _first_sound(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    remarks: list[str] = []
    for path in complete(folder):
        try:
            return load_checkpoint(path), remarks
        except Refused as error:
            remarks.append(str(error))
    return None, remarks


def changes(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """{key: "old -> new"} of the keys in which two nested configs differ."""
    found: dict[str, str] = {}
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found |= changes(old, new, f"{above}{key}.")
        elif old != new:
            found[f"{above}{key}"] = f"{json.dumps(old)} -> {json.dumps(new)}"
    return found


def _hash(record: Mapping[str, Any]) -> str:
    return blake3(json.dumps(record, sort_keys=True).encode()).hexdigest()
