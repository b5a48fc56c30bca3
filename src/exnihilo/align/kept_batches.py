"""Batches on disk: what was sampled from weights that are no more can't be made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from exnihilo.core.files import write_atomic
from exnihilo.core.jsonl import dumps
from exnihilo.tokens.batch import Batch

TOLD = "told"


def save_batch(path: Path, batch: Batch, told: dict[str, Any] | None = None) -> None:
    """Write a batch, and what (as JSON) is to be known of it, in one go: whole or not at all."""
    tensors = {name: tensor.contiguous() for name, tensor in batch.fields().items()}
    write_atomic(path, save(tensors, {TOLD: dumps(told or {})}))


def load_batch(path: Path) -> tuple[Batch, dict[str, Any]]:
    """A batch as it was saved, and what was told of it."""
    with safe_open(path, framework="pt") as file:
        fields = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
        told: dict[str, Any] = json.loads(file.metadata()[TOLD])
    return Batch.of(fields), told
