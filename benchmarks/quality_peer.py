"""The peer's side of `benchmarks.quality`: trained once for ten minutes, then kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import BUSY, Others
from benchmarks.processes import System, Worker
from exnihilo.core.artifact import read_manifest
from exnihilo.core.files import write_json
from exnihilo.core.machine import describe
from exnihilo.report.run import read_json
from exnihilo.tokens.shards import TokenSet

PEER = "transformers"


def name_of(rate: float, seconds: float) -> str:
    """What the peer's run with a learning rate for so many seconds is kept as."""
    return f"{PEER}-{rate:g}-{seconds:g}s"


def train_peer(data: Path, folder: Path, rate: float, seconds: float, share: float) -> dict[str, Any]:
    """What the peer came to in `share` of `seconds`: kept of an earlier run with the same data, shape and processor,
    or made now. Its model lies in `folder`, and has the shape of the model `ours-1` there."""
    name = name_of(rate, seconds)
    kept = folder / f"{name}.json"
    key = {
        "cpu": describe()["cpu"],
        "tokens": read_manifest(data / "tokens")["content"],
        "shape": read_json(folder / "ours-1" / "config.json"),
    }
    result = read_json(kept) if kept.is_file() else {}
    if result.get("key") == key and (folder / name).is_dir():
        return result
    kept.unlink(missing_ok=True)
    others = Others()
    result = _run(data, folder, name, rate, share * seconds) | {"key": key}
    used = others.share()
    # A peer that was slowed down must not stay slow for ever.
    if used is None or used <= BUSY:
        write_json(kept, result)
    return result


def _run(data: Path, folder: Path, name: str, rate: float, seconds: float) -> dict[str, Any]:
    for split in ("train", "held_out"):
        tokens = TokenSet.open(data / "tokens", split)
        ids = np.concatenate([tokens.document(i) for i in range(tokens.documents)])
        np.save(folder / f"{split}.npy", ids.astype(np.uint16))
    worker = Worker(System(PEER, "benchmarks.systems.transformers_quality", PEER), patience=2 * seconds + 300)
    out = folder / name
    try:
        result: dict[str, Any] = worker.call(
            "train",
            model=str(folder / "ours-1"),
            train=str(folder / "train.npy"),
            held_out=str(folder / "held_out.npy"),
            out=str(out),
            seconds=seconds,
            rate=rate,
        )
    finally:
        worker.close()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / "ours-1" / file, out / file)
    return result | {"rate": rate}
