"""Looking on at a training process from outside."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.steady import Run, resident_bytes, watch
from exnihilo.core.errors import ExnihiloError

# Writes a line of metrics a step, as a stage does, grows by 64 MiB half-way, and publishes its folder at the end.
PROCESS = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
partial = folder.with_name(folder.name + ".partial")
partial.mkdir(parents=True)
held = []
for step in range(1, 41):
    time.sleep(0.05)
    if step == 20:
        held.append(bytearray(b"x") * (64 << 20))
    with (partial / "metrics.jsonl").open("a") as out:
        out.write(json.dumps({"step": step, "time": step * (0.05 if step <= 20 else 0.1)}) + "\\n")
        if step == 30:
            out.write(json.dumps({"step": step, "validation_loss": 1.0}) + "\\n")
partial.rename(folder)
"""


def test_steps_memory_and_the_first_step_of_a_process(tmp_path: Path) -> None:
    seen = watch(
        [sys.executable, "-c", PROCESS, str(tmp_path / "m")], tmp_path / "m.partial" / "metrics.jsonl"
    )
    assert len(seen.seconds) == 40
    assert seen.steps_around(10, 10) == pytest.approx([0.05] * 10)
    assert seen.steps_around(32, 10) == pytest.approx([0.1] * 10)
    assert 0.05 <= seen.first_step < 10.0
    growth = max(seen.memory_around(32, 16)) - min(seen.memory_around(10, 16))
    assert 60 < growth < 80


def test_a_command_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ExnihiloError, match="ended with code 3: no such tokens"):
        watch(
            [sys.executable, "-c", "import sys; sys.stderr.write('no such tokens\\n'); sys.exit(3)"],
            tmp_path / "m",
        )


def test_windows_lie_around_a_step() -> None:
    seen = Run(seconds=[float(i) for i in range(1000)], memory=[(i, i << 20) for i in range(0, 1000, 50)])
    assert seen.steps_around(100, 200) == [float(i) for i in range(200)]
    assert seen.memory_around(500, 200) == [400.0, 450.0, 500.0, 550.0, 600.0]
    assert resident_bytes(2**22 + 1) is None
