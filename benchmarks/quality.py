"""Quality for time: held-out bits per byte of ours after 3 minutes of training against `transformers` after 10.

One decoder shape, one tokenizer, the same training text; both models are then scored by `exnihilo evaluate` on all of
the held-out text. Ours is the real command, with settings that anybody can read in `quality-ours.yaml`. The peer is a
plain loop (AdamW, warm-up and cosine, packed rows), in whichever precision a probe shows to be fastest; the best of
three learning rates is chosen once, on English. Time counts from the first step to the last, without
validation, for both. Results of a peer are kept, since they take ten minutes each.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import complete, exnihilo
from benchmarks.environment import cache_folder
from benchmarks.harness import OURS, Case, Check, Outcome
from benchmarks.load import BUSY, Others
from benchmarks.processes import System, Worker
from exnihilo.core.errors import ConfigError
from exnihilo.core.machine import describe

PEER = "transformers"
SETTINGS = Path(__file__).with_name("quality-ours.yaml")
RATES = (1e-3, 2e-3, 4e-3)
PROBE_STEPS = 60
MARGIN = 0.97
"""Of the seconds a run may take, the share it is planned to take: steps differ in length."""


@dataclass(frozen=True)
class Budget:
    """Seconds of training."""

    ours: float
    peer: float
    seeds: tuple[int, ...]
    rates: tuple[float, ...]


FULL = Budget(180.0, 600.0, (1, 2, 3), RATES)
ONE_SEED = Budget(180.0, 600.0, (1,), ())
QUICK = Budget(5.0, 15.0, (1,), (2e-3,))


@dataclass(frozen=True)
class Text:
    """What is read: files of the data folder, or the running Python's library."""

    name: str
    files: tuple[str, ...]
    vocabulary: int

    def sources(self) -> list[dict[str, Any]]:
        if not self.files:
            return [{"python": True}]
        folder = os.environ.get("EXNIHILO_DATA")
        if not folder:
            raise ConfigError("EXNIHILO_DATA: not set; name the folder with text/*.jsonl.gz")
        return [{"path": str(Path(folder) / "text" / f"{name}.jsonl.gz")} for name in self.files]


ENGLISH = Text("english", ("peps", "rust-rfcs", "brown"), 4096)
PYTHON = Text("python", (), 2048)
CHINESE = Text("chinese", ("tang-poems-zh",), 4096)


def run(quick: bool) -> Outcome:
    """English (three seeds and rates), then Python's library and Chinese; quick: Chinese, in seconds."""
    if quick:
        return Outcome([_case(CHINESE, QUICK, 2e-3)])
    cases = [_case(ENGLISH, FULL, None)]
    rate = float(_kept(cache_folder() / "quality" / ENGLISH.name / "rate.json")["rate"])
    cases += [_case(text, ONE_SEED, rate) for text in (PYTHON, CHINESE)]
    return Outcome(cases)


def _case(text: Text, budget: Budget, rate: float | None) -> Case:
    folder = cache_folder() / "quality" / text.name
    data = _data(text, folder)
    trained = {f"ours-{seed}": _train_ours(data, folder, budget.ours, seed) for seed in budget.seeds}
    peers = _train_peers(data, folder, budget, rate)
    names = [*trained, *peers]
    scores = _scores(data, folder, names)
    best = min(peers, key=lambda name: scores[name])
    if rate is None:
        (folder / "rate.json").write_text(json.dumps({"rate": peers[best]["rate"]}), encoding="utf-8")
    parameters = {name: found["parameters"] for name, found in (trained | peers).items()}
    return Case(
        text.name,
        "bits per byte",
        {OURS: [scores[name] for name in trained], PEER: [scores[best]]},
        {PEER: 1.0},
        higher_is_better=False,
        checks=[
            Check("parameters", len(set(parameters.values())) == 1, f"{next(iter(parameters.values())):,}"),
            Check(
                "time",
                all(found["seconds"] <= budget.ours for found in trained.values())
                and all(found["seconds"] >= MARGIN * MARGIN * budget.peer for found in peers.values()),
                ", ".join(f"{name} {found['seconds']:.0f} s" for name, found in (trained | peers).items()),
            ),
        ],
        notes=[
            f"{name}: {found['tokens']:,} tokens in {found['seconds']:.0f} s, {scores[name]:.4f} bits per byte; "
            f"{found['how']}"
            for name, found in (trained | peers).items()
        ],
    )


def _data(text: Text, folder: Path) -> Path:
    """A run folder with `corpus` and `tokens`, made on first use."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {
        "description": f"the data of `python -m benchmarks quality`, {text.name}",
        "seed": 1,
        "stages": {
            "texts": {"do": "collect", "from": text.sources()},
            "corpus": {"do": "curate", "corpus": "texts", "held_out": 0.03}
            | ({} if text.files else {"group": "path"}),
            "tokenizer": {"do": "tokenizer", "corpus": "corpus", "vocabulary": text.vocabulary},
            "tokens": {"do": "tokenize", "corpus": "corpus", "tokenizer": "tokenizer"},
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    complete(exnihilo("run", str(path), "--run", str(folder / "data")))
    return folder / "data"


def _train_ours(data: Path, folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """The real command for as many steps as fit, by a probe of this very machine."""

    def train(out: Path, steps: int) -> dict[str, Any]:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(out.with_name(out.name + ".partial"), ignore_errors=True)
        given = ["--tokens", str(data / "tokens"), "--steps", str(steps), "--out", str(out)]
        complete(exnihilo("pretrain", "-c", str(SETTINGS), *given, "--seed", str(seed)))
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        found: dict[str, Any] = manifest["metrics"]
        return found

    # The probe's second half alone: the first steps of a process are slower.
    train(folder / "probe", PROBE_STEPS)
    lines = (folder / "probe" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    times = {record["step"]: record["time"] for record in map(json.loads, lines) if "time" in record}
    middle = max(step for step in times if step <= PROBE_STEPS // 2)
    each = (times[PROBE_STEPS] - times[middle]) / (PROBE_STEPS - middle)
    metrics = train(folder / f"ours-{seed}", max(20, math.floor(MARGIN * seconds / each)))
    return {
        "seconds": metrics["training_seconds"],
        "tokens": metrics["tokens"],
        "parameters": metrics["parameters"],
        "how": f"{metrics['steps']} steps, seed {seed}",
    }


def _train_peers(data: Path, folder: Path, budget: Budget, rate: float | None) -> dict[str, dict[str, Any]]:
    rates = budget.rates if rate is None else (rate,)
    found = {}
    for one in rates:
        name = f"{PEER}-{one:g}-{budget.peer:g}s"
        kept = folder / f"{name}.json"
        key = {
            "cpu": describe()["cpu"],
            "tokens": _content(data / "tokens"),
            "shape": _content(folder / "ours-1"),
        }
        result = _kept(kept) if kept.is_file() else {}
        if result.get("key") != key:
            others = Others()
            result = _train_peer(data, folder, name, one, budget.peer) | {"key": key}
            share = others.share()
            # A peer that was slowed down must not stay slow for ever.
            if share is None or share <= BUSY:
                kept.write_text(json.dumps(result), encoding="utf-8")
        found[name] = result
    return found


def _content(artifact: Path) -> Any:
    """What results of a peer depend on: the tokens themselves; of a model only its shape."""
    if (artifact / "config.json").is_file():
        return json.loads((artifact / "config.json").read_text(encoding="utf-8"))
    return json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))["content"]


def _kept(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _train_peer(data: Path, folder: Path, name: str, rate: float, seconds: float) -> dict[str, Any]:
    from exnihilo.tokens.shards import TokenSet

    for split in ("train", "held_out"):
        tokens = TokenSet.open(data / "tokens", split)
        ids = np.concatenate([tokens.document(i) for i in range(tokens.documents)])
        np.save(folder / f"{split}.npy", ids.astype(np.uint16))
    worker = Worker(System(PEER, "benchmarks.systems.transformers_quality", PEER), patience=2 * seconds + 300)
    try:
        out = folder / name
        result: dict[str, Any] = worker.call(
            "train",
            model=str(folder / "ours-1"),
            train=str(folder / "train.npy"),
            held_out=str(folder / "held_out.npy"),
            out=str(out),
            seconds=MARGIN * seconds,
            rate=rate,
        )
    finally:
        worker.close()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / "ours-1" / file, out / file)
    return result | {"rate": rate}


def _scores(data: Path, folder: Path, names: Sequence[str]) -> dict[str, float]:
    out = folder / "scores"
    shutil.rmtree(out, ignore_errors=True)
    models = ",".join(str(folder / name) for name in names)
    complete(exnihilo("evaluate", "--models", models, "--corpus", str(data / "corpus"), "--out", str(out)))
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))["models"]
    return {name: float(found[name]["bits_per_byte"]["value"]) for name in names}
