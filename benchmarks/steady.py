"""A long run: is a step as fast, and memory as small, after thousands of steps as at the beginning; how soon does the
first step end, and how soon does `--help` answer. Real commands, no peers: the limits stand in their place."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.commands import complete, exnihilo
from benchmarks.environment import cache_folder
from benchmarks.harness import OURS, Case, Outcome
from exnihilo.core.errors import ExnihiloError

WINDOW = 200
"""Steps that a median is taken over."""
WITHIN = 1 / 1.05
"""Least ratio of early to late: late may cost 5 % more."""
FIRST_STEP, HELP = 10.0, 0.5
"""Seconds that they may take."""
MODEL = ["--model.depth", "4", "--model.width", "128", "--rows", "8", "--length", "128"]


@dataclass
class Run:
    """What was seen of a training process: seconds of each step by its clock, and (step, bytes) now and then."""

    first_step: float = 0.0
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)

    def steps_around(self, step: int, window: int) -> list[float]:
        """Seconds of `window` steps, half of them before `step`."""
        return self.seconds[step - window // 2 : step + window // 2]

    def memory_around(self, step: int, window: int) -> list[float]:
        """MiB seen within `window` steps around `step`."""
        return [size / 2**20 for at, size in self.memory if abs(at - step) <= window // 2]


def run(quick: bool) -> Outcome:
    """5,100 steps of a decoder of 1M parameters, some minutes; quick: 600."""
    early, settled, late = (100, 200, 500) if quick else (100, 1000, 5000)
    data = _data()
    with tempfile.TemporaryDirectory() as folder:
        if not quick:  # a run of this length is compiled; the limit holds where that has been done before
            complete(_pretrain(data, Path(folder) / "short", 2, "--compile", "always"))
        out = Path(folder) / "model"
        seen = watch(_pretrain(data, out, late + WINDOW // 2), Path(f"{out}.partial") / "metrics.jsonl")
    steps = Case(
        "seconds per step",
        "seconds",
        {
            OURS: [statistics.median(seen.steps_around(late, WINDOW))],
            f"around step {early}": [statistics.median(seen.steps_around(early, WINDOW))],
        },
        {f"around step {early}": WITHIN},
        higher_is_better=False,
        notes=[f"ours: around step {late:,}; medians of {WINDOW} steps"],
    )
    memory = Case(
        "resident memory",
        "MiB",
        {
            OURS: [statistics.median(seen.memory_around(late, WINDOW))],
            f"around step {settled}": [statistics.median(seen.memory_around(settled, WINDOW))],
        },
        {f"around step {settled}": WITHIN},
        higher_is_better=False,
        notes=[f"ours: around step {late:,}; medians of what was seen within {WINDOW} steps"],
    )
    first = Case(
        "first step",
        "seconds",
        {OURS: [seen.first_step], "limit": [FIRST_STEP]},
        {"limit": 1.0},
        higher_is_better=False,
    )
    helps = [_seconds_of_help() for _ in range(7)]
    help_case = Case(
        "--help", "seconds", {OURS: helps, "limit": [HELP]}, {"limit": 1.0}, higher_is_better=False
    )
    return Outcome([steps, memory, first, help_case])


def watch(command: list[str], metrics: Path) -> Run:
    """Run a training command that writes a line of metrics a step, and look on from outside.

    Raises ExnihiloError if it fails.
    """
    seen = Run()
    started = time.monotonic()
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        lines = 0
        while process.poll() is None:
            lines_before, lines = lines, _count_lines(metrics)
            if lines and not lines_before:
                seen.first_step = time.monotonic() - started
            size = resident_bytes(process.pid)
            if lines and size is not None:
                seen.memory.append((lines, size))
            time.sleep(0.02 if not lines else 0.25)
        if process.returncode != 0:
            log.seek(0)
            words = log.read().decode(errors="replace").strip().splitlines() or ["no output"]
            raise ExnihiloError(f"{' '.join(command[2:4])} ended with code {process.returncode}: {words[-1]}")
    finished = metrics.parent.with_suffix("") / metrics.name
    times = [
        record["time"] for record in map(json.loads, finished.read_text().splitlines()) if "time" in record
    ]
    seen.seconds = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    return seen


def resident_bytes(process: int) -> int | None:
    """Resident memory of a process; None once it is gone."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _data() -> Path:
    """The tokens, made by the recipe beside this file on first use."""
    folder = cache_folder() / "steady"
    complete(exnihilo("run", str(Path(__file__).with_name("steady.yaml")), "--run", str(folder)))
    return folder / "tokens"


def _pretrain(tokens: Path, out: Path, steps: int, *more: str) -> list[str]:
    keys = ["--tokens", str(tokens), "--steps", str(steps), "--log_every", "1", *MODEL, *more]
    return exnihilo("pretrain", *keys, "--out", str(out))


def _seconds_of_help() -> float:
    started = time.monotonic()
    complete(exnihilo("--help"))
    return time.monotonic() - started
