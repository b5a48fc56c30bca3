"""Quality for time: how many steps ours gets, what of the peer is kept, and what is told; commands are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import quality, quality_peer
from benchmarks.harness import OURS
from benchmarks.quality import CHINESE, ENGLISH, Budget
from benchmarks.quality_peer import train_peer
from exnihilo.core.files import write_json
from exnihilo.core.jsonl import write_jsonl

SCORES = {"ours-1": 1.6, "ours-2": 1.7, "transformers-0.001-600s": 1.9, "transformers-0.002-600s": 1.8}
BUDGET = Budget(180.0, 600.0, (1, 2), (1e-3, 2e-3))


class Played:
    """Stands for `complete`: writes what the commands of exnihilo would. A step takes 1/8 s, and half of
    it in long runs, which are compiled."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.flops = 1e9
        self.parameters = 3_000_000
        self.slower: dict[str, float] = {}  # how many times slower than the probe the next run of a name is

    def __call__(self, command: list[str]) -> str:
        verb, words = command[3], command[4:]
        self.commands.append(command[3:])
        given = dict(pairwise(words))
        out = Path(given["--run"] if verb == "run" else given["--out"])
        if verb == "run":
            manifest(out / "tokens", {})
        elif verb == "evaluate":
            name = Path(given["--models"]).name
            write_json(out / "results.json", {"models": {name: {"bits_per_byte": {"value": SCORES[name]}}}})
        else:
            steps = int(given["--steps"])
            long = "--compile" not in given and steps * self.flops >= quality.PAYS_FROM
            each = 1 / 16 if long or given.get("--compile") == "always" else 1 / 8
            self._pretrain(out, steps, each * self.slower.pop(out.name, 1.0))
        return ""

    def _pretrain(self, out: Path, steps: int, each: float) -> None:
        measured = {"training_seconds": each * steps, "tokens": 2048 * steps, "flops": self.flops * steps}
        manifest(out, {**measured, "steps": steps, "parameters": self.parameters})
        # The first step is slow: the probe must not count it.
        times = [{"step": step, "time": 3.0 + each * step} for step in (1, *range(10, steps + 1, 10))]
        write_jsonl(out / "metrics.jsonl", times)
        write_json(out / "config.json", {"hidden_size": 192})

    def steps_of(self, name: str) -> list[int]:
        return [
            int(words[words.index("--steps") + 1])
            for words in self.commands
            if words[0] == "pretrain" and Path(words[words.index("--out") + 1]).name == name
        ]


def manifest(folder: Path, metrics: dict[str, Any]) -> None:
    content = {"schema": 1, "kind": "any", "content": "c0", "files": {}, "key": "", "metrics": metrics}
    write_json(folder / "manifest.json", content)


class Idle:
    """Stands for `Others` on a machine that does nothing else."""

    used = 0.0

    def share(self) -> float:
        return self.used


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    commands = Played()
    monkeypatch.setattr(quality, "complete", commands)
    monkeypatch.setattr(quality, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(quality, "can_compile", lambda: True)
    monkeypatch.setattr(quality_peer, "Others", Idle)
    monkeypatch.setenv("EXNIHILO_DATA", str(tmp_path))
    return commands


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Stands for the peer's process; `calls` lists what was trained."""

    def train(data: Path, folder: Path, name: str, rate: float, seconds: float) -> dict[str, Any]:
        train.calls.append((name, seconds))  # type: ignore[attr-defined]
        (folder / name).mkdir(exist_ok=True)
        return {"seconds": seconds, "tokens": 999, "parameters": 3_000_000, "how": "played", "rate": rate}

    train.calls = []  # type: ignore[attr-defined]
    monkeypatch.setattr(quality_peer, "_run", train)
    return train


def test_a_text_is_probed_once_and_every_seed_gets_the_steps_that_fit(
    played: Played, peer: Any, tmp_path: Path
) -> None:
    case = quality._case(ENGLISH, BUDGET, None)
    assert played.steps_of("probe") == [60]
    assert played.steps_of("ours-1") == played.steps_of("ours-2") == [int(0.97 * 180 * 8)]
    assert (
        case.values == {OURS: [1.6, 1.7], "transformers": [1.8]} and case.ratio("transformers") == 1.8 / 1.65
    )
    assert all(check.ok for check in case.checks), case.checks
    assert json.loads((tmp_path / "quality/english/rate.json").read_text()) == {"rate": 2e-3}


def test_a_run_that_took_too_long_is_made_again_with_the_steps_that_fit(played: Played, peer: Any) -> None:
    played.slower = {"ours-1": 1.25}
    case = quality._case(ENGLISH, BUDGET, 1e-3)
    first, second = played.steps_of("ours-1")
    assert (first, second) == (1396, int(1396 * 0.97 * 180 / (1396 / 8 * 1.25)))
    assert played.steps_of("ours-2") == [second] and all(check.ok for check in case.checks)


def test_what_ours_came_to_is_kept_for_the_same_code_and_settings(
    played: Played, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = quality._case(ENGLISH, BUDGET, 1e-3)
    again = quality._case(ENGLISH, BUDGET, 1e-3)
    assert (
        again.values == first.values and len(played.steps_of("ours-1")) == len(played.steps_of("ours-2")) == 1
    )
    monkeypatch.setattr(quality, "_code", lambda: "another")
    quality._case(ENGLISH, BUDGET, 1e-3)
    assert len(played.steps_of("ours-1")) == len(played.steps_of("ours-2")) == 2


def test_of_a_short_text_the_best_point_counts(
    played: Played, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCORES, "ours-1-0.5", 1.4)
    case = quality._case(CHINESE, Budget(180.0, 600.0, (1,), (), shares=(1.0, 0.5)), 1e-3)
    assert played.steps_of("ours-1") == [1396] and played.steps_of("ours-1-0.5") == [698]
    assert case.values[OURS] == [1.4]


def test_a_run_that_is_compiled_is_planned_by_a_probe_that_is(played: Played, peer: Any) -> None:
    """1,396 steps of 2e10 FLOPs are compiled by default; 60 are not, and take twice as long each."""
    played.flops = 2e10
    quality._case(ENGLISH, BUDGET, 1e-3)
    assert played.steps_of("probe") == [60, 60] and played.steps_of("ours-1") == [int(0.97 * 180 * 16)]
    assert "--compile" not in next(words for words in played.commands if "ours-1" in words[-3]), (
        "ours is as users run it"
    )


def test_every_run_is_told_when_it_ends(
    played: Played, peer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    quality._case(ENGLISH, BUDGET, None)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "english: a step takes 125.0 ms: 1,396 steps in 180 s"
    told = "ours-1: 2,859,008 tokens in 174 s, 1.6000 bits per byte; 1396 steps, seed 1"
    assert lines[1] == f"english: {told}"
    assert lines[3].startswith("english: transformers-0.001-600s: 999 tokens in 582 s, 1.9000 bits per byte")
    assert len(lines) == 5


def test_other_work_is_seen(played: Played, peer: Any) -> None:
    played.parameters = 2_000_000
    checks = {check.name: check.ok for check in quality._case(ENGLISH, BUDGET, 1e-3).checks}
    assert checks == {"parameters": False, "time": True}
    played.parameters = 3_000_000
    short = Budget(1.0, 600.0, (1,), ())  # 20 steps at least: they take two seconds, however they are planned
    checks = {check.name: check.ok for check in quality._case(ENGLISH, short, 1e-3).checks}
    assert checks == {"parameters": True, "time": False}


def test_a_peers_result_is_kept_for_the_same_data_and_shape(
    tmp_path: Path, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_peer, "Others", Idle)
    data = tmp_path / "data"
    manifest(data / "tokens", {})
    write_json(tmp_path / "ours-1" / "config.json", {"hidden_size": 192})

    def trained() -> dict[str, Any]:
        return train_peer(data, tmp_path, 2e-3, 600.0, 0.97)

    first = trained()
    assert peer.calls == [("transformers-0.002-600s", 582.0)]
    assert trained() == first and len(peer.calls) == 1
    write_json(tmp_path / "ours-1" / "config.json", {"hidden_size": 256})
    assert trained() != first and len(peer.calls) == 2
    (tmp_path / "transformers-0.002-600s").rmdir()  # its model is gone, and could not be scored
    trained()
    assert len(peer.calls) == 3


def test_a_peer_that_a_busy_machine_slowed_down_is_not_kept(
    tmp_path: Path, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest(tmp_path / "data" / "tokens", {})
    write_json(tmp_path / "ours-1" / "config.json", {"hidden_size": 192})
    monkeypatch.setattr(quality_peer, "Others", type("Busy", (Idle,), {"used": 0.4}))
    for _ in range(2):
        train_peer(tmp_path / "data", tmp_path, 2e-3, 600.0, 0.97)
    assert len(peer.calls) == 2 and not (tmp_path / "transformers-0.002-600s.json").exists()


def test_the_peer_learns_and_its_best_point_is_what_is_saved(tmp_path: Path) -> None:
    """Ids that follow each other are learned within a second: the loss falls far below that of guessing."""
    from benchmarks.systems import transformers_quality
    from benchmarks.systems.model_folder import write_random
    from benchmarks.systems.shapes import Shape

    write_random(Shape(64, 1, 32, 48, rows=8, length=256, head_dim=16), tmp_path / "shape")
    np.save(tmp_path / "ids.npy", np.resize(np.arange(8, 40), 20_000).astype(np.uint16))
    found = transformers_quality.train(
        model=str(tmp_path / "shape"),
        train=str(tmp_path / "ids.npy"),
        held_out=str(tmp_path / "ids.npy"),
        out=str(tmp_path / "best"),
        seconds=1.0,
        rate=0.02,
    )
    losses = [loss for _, loss in found["curve"]]
    assert 1.0 <= found["seconds"] < 2.0 and 1 <= len(losses) <= transformers_quality.POINTS
    assert found["tokens"] == found["curve"][-1][0] * 8 * 256 and min(losses) < 0.5 * np.log(64)
    assert f"best at step {found['curve'][int(np.argmin(losses))][0]}" in found["how"]
    assert (tmp_path / "best" / "model.safetensors").is_file()
