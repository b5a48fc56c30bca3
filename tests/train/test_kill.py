from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import start_processes, train_or_die

from exnihilo.train import checkpoint


def start(folder: Path, *, kill_at: int = -1, number: int = 0, resume: str = "auto") -> int | None:
    return start_processes(1, train_or_die, folder, 90, resume, kill_at, number)[0]


def losses(folder: Path) -> dict[int, list[float]]:
    lines = [json.loads(line) for line in (folder / "stage.partial/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    kept = ("loss", "ema", "tokens", "lr", "grad_norm")
    return {line["step"]: [line[key] for key in kept] for line in lines}


def final(folder: Path, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    path = folder / f"stage.partial/checkpoints/step-{step:08d}"
    state = json.loads((path / "state.json").read_text())
    return load_file(path / "model.safetensors"), state["counters"]


def test_train_4_and_train_6_killed_and_run_again_is_bit_identical_to_a_straight_run(tmp_path: Path) -> None:
    """kill -9 in step 37 of 90, then SIGTERM in step 61: checkpoints are at 30 and 62. All losses, averages and
    counters from there on (59 and 28 steps) are those of the unbroken run, to the bit, and so are the weights."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert start(straight) == 0
    assert start(broken, kill_at=37, number=signal.SIGKILL) == -signal.SIGKILL
    assert len(losses(broken)) == 37
    assert start(broken, kill_at=61, number=signal.SIGTERM) == 1  # Interrupted
    assert sorted(p.name for p in (broken / "stage.partial/checkpoints").iterdir())[-1] == "step-00000062"
    assert len(losses(broken)) == 62
    assert start(broken, resume="must") == 0

    assert losses(broken) == losses(straight)
    (weights, counters), (expected, expected_counters) = final(broken, 90), final(straight, 90)
    assert weights.keys() == expected.keys()
    assert all((weights[name] == expected[name]).all() for name in expected)
    assert counters == expected_counters
    resumed = [
        json.loads(line)["message"]
        for line in (broken / "events.jsonl").read_text().splitlines()
        if "resumed" in line
    ]
    assert resumed == [
        "continuing at step 30 of 90 (config unchanged)",
        "continuing at step 62 of 90 (config unchanged)",
    ]


def save_and_die(rank: int, folder: Path, function: str, call: int) -> None:
    """Save two checkpoints; SIGKILL at the given call of a function that saving goes through."""
    plain = getattr(checkpoint, function)
    calls: list[int] = []

    def dying(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*arguments)

    setattr(checkpoint, function, dying)
    for step in (1, 2):
        checkpoint.save_checkpoint(folder, step, {"a": torch.full((9,), float(step))}, {}, {})


@pytest.mark.parametrize(("function", "call"), [("save_file", 4), ("write_json", 2), ("sync_folder", 3)])
def test_train_6_killed_while_saving_leaves_no_partial_checkpoint_as_the_latest(
    tmp_path: Path, function: str, call: int
) -> None:
    """While the second checkpoint is written: at its second file, at its state, and before it is renamed."""
    assert start_processes(1, save_and_die, tmp_path, function, call) == [-signal.SIGKILL]
    found, remarks = checkpoint.resume_from(tmp_path, "auto")
    assert found is not None and found.step == 1 and remarks == []
    assert any(path.name.startswith(".step-00000002") for path in tmp_path.iterdir())
