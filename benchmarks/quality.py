"""Quality for time: held-out bits per byte of ours after 3 minutes of training against `transformers` after 10.

One decoder shape, one tokenizer, the same training text; both models are then scored by `exnihilo evaluate` on all of
the held-out text. Ours is the real command, with settings that anybody can read in `quality-ours.yaml`. The peer is a
plain loop (AdamW, warm-up and cosine, packed rows), in whichever precision a probe shows to be fastest; the best of
three learning rates is chosen once, on English. Time counts from the first step to the last, without
validation, for both. Results are kept, a peer's for the same data and shape, ours for the same data, settings and
code: a benchmark that was stopped goes on. What each run came to is told on stderr when it ends: all of it takes more
than an hour.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

import exnihilo as exnihilo_package
from benchmarks.commands import complete, exnihilo
from benchmarks.environment import cache_folder
from benchmarks.harness import OURS, Case, Check, Outcome
from benchmarks.quality_peer import PEER, name_of, train_peer
from exnihilo.core.artifact import PARTIAL, read_manifest
from exnihilo.core.errors import ConfigError
from exnihilo.core.files import write_json
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.machine import describe
from exnihilo.model.compiled import can_compile
from exnihilo.report.run import read_json
from exnihilo.train.compiling import PAYS_FROM

SETTINGS = Path(__file__).with_name("quality-ours.yaml")
RATES = (1e-3, 2e-3, 4e-3)
MARGIN = 0.97
"""Of the seconds a run may take, the share it is planned to take: steps differ in length."""
PLANS = 3
"""How often a run of ours may be planned: one that took too long is made again, with the steps that would have
fitted. The peer needs no plan, since its learning rate follows the clock."""


@dataclass(frozen=True)
class Budget:
    """Seconds of training, steps of the probe that tells how many steps those are, and the shares of them that ours
    tries: of a text read many times over, the best point is not the last, for ours as for the peer."""

    ours: float
    peer: float
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    probe: int = 60
    shares: tuple[float, ...] = (1.0,)


FULL = Budget(180.0, 600.0, (1, 2, 3), RATES)
ONE_SEED = Budget(180.0, 600.0, (1,), ())
SHORT_TEXT = Budget(180.0, 600.0, (1,), (), shares=(1.0, 0.5, 0.25))
QUICK = Budget(5.0, 15.0, (1,), (2e-3,), probe=20)


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
PYTHON = Text("python", (), 4096)
CHINESE = Text("chinese", ("tang-poems-zh",), 4096)


def run(quick: bool) -> Outcome:
    """English (three seeds and rates), then Python's library and Chinese; quick: Chinese, in seconds."""
    if quick:
        return Outcome([_case(CHINESE, QUICK, 2e-3)])
    cases = [_case(ENGLISH, FULL, None)]
    rate = float(read_json(cache_folder() / "quality" / ENGLISH.name / "rate.json")["rate"])
    return Outcome([*cases, _case(PYTHON, ONE_SEED, rate), _case(CHINESE, SHORT_TEXT, rate)])


def _case(text: Text, budget: Budget, rate: float | None) -> Case:
    folder = cache_folder() / "quality" / text.name
    data = _data(text, folder)
    steps = _steps_within(budget, data, folder)
    trained: dict[str, dict[str, Any]] = {}
    peers: dict[str, dict[str, Any]] = {}
    scores: dict[str, float] = {}
    notes = []

    def finished(name: str, run: dict[str, Any]) -> dict[str, Any]:
        scores[name] = score = _score(data, folder, name)
        spent = f"{run['tokens']:,} tokens in {run['seconds']:.0f} s"
        notes.append(f"{name}: {spent}, {score:.4f} bits per byte; {run['how']}")
        _say(f"{text.name}: {notes[-1]}")
        return run

    best_of_ours = []
    for seed in budget.seeds:
        points = {}
        for share in budget.shares:
            name = f"ours-{seed}" if share == 1 else f"ours-{seed}-{share:g}"
            run, steps = _train_within(budget, data, folder / name, steps, share, seed)
            trained[name] = finished(name, run)
            points[name] = scores[name]
        best_of_ours.append(min(points.values()))
    for one in budget.rates if rate is None else (rate,):
        name = name_of(one, budget.peer)
        peers[name] = finished(name, train_peer(data, folder, one, budget.peer, MARGIN))
    best = min(peers, key=lambda name: scores[name])
    if rate is None:
        write_json(folder / "rate.json", {"rate": peers[best]["rate"]})
    runs = trained | peers
    parameters = {name: run["parameters"] for name, run in runs.items()}
    return Case(
        text.name,
        "bits per byte",
        {OURS: best_of_ours, PEER: [scores[best]]},
        {PEER: 1.0},
        higher_is_better=False,
        checks=[
            Check("parameters", len(set(parameters.values())) == 1, f"{next(iter(parameters.values())):,}"),
            Check(
                "time",
                all(run["seconds"] <= budget.ours for run in trained.values())
                and all(run["seconds"] >= MARGIN * MARGIN * budget.peer for run in peers.values()),
                ", ".join(f"{name} {run['seconds']:.0f} s" for name, run in runs.items()),
            ),
        ],
        notes=notes,
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


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


def _steps_within(budget: Budget, data: Path, folder: Path) -> int:
    """How many of our steps fit, by a probe of this very machine: compiled if a run of so many steps is compiled."""

    def fit(each: float) -> int:
        return max(20, math.floor(MARGIN * budget.ours / each))

    each, flops = _probe(data, folder / "probe", budget.probe, "never")
    if fit(each) * flops >= PAYS_FROM and can_compile():
        each, _ = _probe(data, folder / "probe", budget.probe, "always")
    _say(f"{folder.name}: a step takes {1000 * each:.1f} ms: {fit(each):,} steps in {budget.ours:g} s")
    return fit(each)


def _probe(data: Path, out: Path, steps: int, compiling: str) -> tuple[float, float]:
    """(seconds, FLOPs) of one of our steps. The probe's second half alone: the first steps of a process are slower."""
    metrics = _pretrain(data, out, steps, 1, "--compile", compiling)
    records = (record for _, record in read_jsonl(out / "metrics.jsonl"))
    times = {record["step"]: record["time"] for record in records if "time" in record}
    middle = max(step for step in times if step <= steps // 2)
    return (times[steps] - times[middle]) / (steps - middle), metrics["flops"] / steps


def _train_within(
    budget: Budget, data: Path, out: Path, steps: int, share: float, seed: int
) -> tuple[dict[str, Any], int]:
    """A run of `share` of `steps` that took no longer than it may, and the steps that later runs are planned with; kept
    of an earlier call with the same data, settings, code and seconds, where there is one."""
    key = {
        "cpu": describe()["cpu"],
        "tokens": read_manifest(data / "tokens")["content"],
        "settings": SETTINGS.read_text(encoding="utf-8"),
        "code": _code(),
        "seconds": budget.ours,
    }
    kept = out.with_name(f"{out.name}.json")
    result = read_json(kept) if kept.is_file() else {}
    if result.get("key") == key and out.is_dir():
        return result["run"], result["steps"]
    run = _train_ours(data, out, round(share * steps), seed)
    for _ in range(PLANS - 1):
        if run["seconds"] <= budget.ours:
            break
        _say(f"{out.name}: took {run['seconds']:.0f} s; again, with fewer steps")
        steps = max(20, math.floor(steps * MARGIN * budget.ours / run["seconds"]))
        run = _train_ours(data, out, round(share * steps), seed)
    write_json(kept, {"run": run, "steps": steps, "key": key})
    return run, steps


def _code() -> str:
    """A hash of the package's sources."""
    digest = blake3()
    for file in sorted(Path(exnihilo_package.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _train_ours(data: Path, out: Path, steps: int, seed: int) -> dict[str, Any]:
    metrics = _pretrain(data, out, steps, seed)
    return {
        "seconds": metrics["training_seconds"],
        "tokens": metrics["tokens"],
        "parameters": metrics["parameters"],
        "how": f"{metrics['steps']} steps, seed {seed}",
    }


def _pretrain(data: Path, out: Path, steps: int, seed: int, *more: str) -> dict[str, Any]:
    """The metrics of the real command."""
    for folder in (out, out.with_name(out.name + PARTIAL)):
        shutil.rmtree(folder, ignore_errors=True)
    given = ["--tokens", str(data / "tokens"), "--steps", str(steps), "--out", str(out), "--seed", str(seed)]
    complete(exnihilo("pretrain", "-c", str(SETTINGS), *given, *more))
    found: dict[str, Any] = read_manifest(out)["metrics"]
    return found


def _score(data: Path, folder: Path, name: str) -> float:
    """Bits per byte of a model on all of the held-out text."""
    out = folder / "scores" / name
    shutil.rmtree(out, ignore_errors=True)
    given = ["--models", str(folder / name), "--corpus", str(data / "corpus"), "--out", str(out)]
    complete(exnihilo("evaluate", *given))
    return float(read_json(out / "results.json")["models"][name]["bits_per_byte"]["value"])
