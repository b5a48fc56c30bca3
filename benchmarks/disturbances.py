"""Runs of a recipe that are disturbed from outside at a chosen moment: killed, stopped, or left without disk space."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

from exnihilo.core.errors import ExnihiloError

Kind = Literal["kill", "stop", "full"]
START, REPORT = "start", "report"
"""What a run does before its first stage and after its last."""
LIMIT = 3600.0
"""Seconds after which a run counts as hanging."""
DONE = "run: done; the report is"
"""What a run says last."""
BLOCK = 4096


@dataclass(frozen=True)
class Timeline:
    """The phases of an unbroken run in their order, and the seconds that each took."""

    seconds: dict[str, float]

    @staticmethod
    def of(run: Path, started: float, ended: float) -> Timeline:
        """Read it from the events of a run that took from `started` to `ended` (seconds since 1970)."""
        seconds: dict[str, float] = {}
        last, phase = started, START
        for event in read_events(run):
            if event["event"] in ("running", "done"):
                now = datetime.fromisoformat(event["time"]).timestamp()
                seconds[phase] = seconds.get(phase, 0.0) + now - last
                last, phase = now, event["stage"] if event["event"] == "running" else REPORT
        seconds[REPORT] = ended - last
        return Timeline(seconds)

    @property
    def stages(self) -> list[str]:
        return [phase for phase in self.seconds if phase not in (START, REPORT)]


@dataclass
class Session:
    """What became of one process of a run.

    Attributes:
        kind: how it was disturbed; None if it came to its end before.
        fell: the phase in which it was.
        code: its exit code.
        waited: seconds from the disturbance to the end of the process.
        problems: what should have been otherwise.
    """

    kind: Kind | None
    fell: str
    code: int
    waited: float = 0.0
    problems: list[str] = field(default_factory=list)


def command(run: Path, recipe: str = "smoke") -> list[str]:
    return [sys.executable, "-m", "exnihilo", "run", recipe, "--run", str(run)]


def environment() -> dict[str, str]:
    """One thread, so that a busy machine can't change how sums are split; and nothing is fetched."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def read_events(run: Path, skip: int = 0) -> list[dict[str, Any]]:
    """The whole lines of a run's events.jsonl, without the first `skip` bytes of the file."""
    file = run / "events.jsonl"
    if not file.exists():
        return []
    with file.open("rb") as stream:
        stream.seek(skip)
        lines = stream.read().split(b"\n")[:-1]
    events = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):  # one that a killed process left unfinished
            events.append(json.loads(line))
    return events


@dataclass(frozen=True)
class Running:
    """A run under way."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def said(self) -> str:
        """What it said on stderr so far."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


@contextlib.contextmanager
def started(run: Path, recipe: str) -> Iterator[Running]:
    """A run in a process of its own, which does not outlive the block."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command(run, recipe), env=environment(), stdout=subprocess.DEVNULL, stderr=log
        ) as process,
    ):
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                process.kill()


def disturb(
    run: Path,
    kind: Kind,
    phase: str,
    moment: float,
    timeline: Timeline,
    draw: random.Random,
    recipe: str = "smoke",
) -> Session:
    """Start the run, and disturb it at `moment` (0 to 1) of the time that `phase` takes unbroken, at its end at the
    latest. If it lies behind the run already, the time counts from where the run passes over it.
    """
    events = run / "events.jsonl"
    skip = events.stat().st_size if events.exists() else 0
    with started(run, recipe) as running:
        _wait_for(running.process, run, skip, phase, timeline)
        _linger(running.process, run, skip, moment * timeline.seconds[phase], timeline)
        if (code := running.process.poll()) is not None:
            session = Session(None, REPORT, code)
            if code:
                session.problems.append(f"ended with code {code} by itself: {running.said()[-500:]!r}")
            return session
        fell = phase_of(read_events(run, skip), timeline)
        return {"kill": _kill, "stop": _stop, "full": _fill}[kind](running, run, fell, draw)


def phase_of(events: Sequence[dict[str, Any]], timeline: Timeline) -> str:
    """The phase in which a process with these events is."""
    phase = START
    for event in events:
        if event["event"] == "running":
            phase = event["stage"]
        elif event["event"] in ("done", "cached"):
            last = event["stage"] == timeline.stages[-1]
            phase = REPORT if last else timeline.stages[timeline.stages.index(event["stage"]) + 1]
    return phase


def finish(run: Path, recipe: str = "smoke") -> tuple[int, str]:
    """Run to the end; (exit code, what it said on stderr)."""
    done = subprocess.run(
        command(run, recipe), env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stderr


def _wait_for(process: subprocess.Popen[bytes], run: Path, skip: int, phase: str, timeline: Timeline) -> None:
    """Until the phase has begun or was passed over, or the process is gone."""
    deadline = time.monotonic() + LIMIT
    stage = timeline.stages[-1] if phase == REPORT else phase
    begun = ("done", "cached") if phase == REPORT else ("running", "cached")
    file, size = run / "events.jsonl", skip
    while phase != START and process.poll() is None:
        if file.exists() and file.stat().st_size != size:
            size = file.stat().st_size
            seen = {(event["stage"], event["event"]) for event in read_events(run, skip)}
            if any((stage, name) in seen for name in begun):
                return
        if time.monotonic() > deadline:
            raise ExnihiloError(f"{run}: {phase} did not begin within {LIMIT:g} s")
        time.sleep(0.002)


def _linger(
    process: subprocess.Popen[bytes], run: Path, skip: int, seconds: float, timeline: Timeline
) -> None:
    """Wait so long, but no longer than the present phase lasts: this run may be faster than the unbroken one."""
    file = run / "events.jsonl"
    size = file.stat().st_size if file.exists() else skip
    phase = phase_of(read_events(run, skip), timeline)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and file.stat().st_size != size:
            size = file.stat().st_size
            if phase_of(read_events(run, skip), timeline) != phase:
                return
        time.sleep(0.002)


def _kill(running: Running, run: Path, fell: str, draw: random.Random) -> Session:
    running.process.send_signal(signal.SIGKILL)
    return Session("kill", fell, running.process.wait())


def _stop(running: Running, run: Path, fell: str, draw: random.Random) -> Session:
    """SIGTERM or Ctrl-C, once; the process must leave by itself and say so by its code."""
    number = draw.choice([signal.SIGTERM, signal.SIGINT])
    start = time.monotonic()
    running.process.send_signal(number)
    session = Session("stop", fell, running.process.wait(LIMIT), time.monotonic() - start)
    if session.code == -number and DONE in running.said():
        return Session(None, REPORT, 0)  # all was done and said; Python itself was being taken down
    # Before the first stage nothing is there to be saved, and Python's own handling ends the process.
    allowed = {0, 128 + number} | ({-number} if fell == START else set())
    if session.code not in allowed:
        session.problems.append(f"{number.name} in {fell}: code {session.code}, {running.said()[-500:]!r}")
    return session


def _fill(running: Running, run: Path, fell: str, draw: random.Random) -> Session:
    """Take what space is left, but for up to 256 KiB; the process must fail in one line, and so must the next."""
    filler = run.parent / "filler"
    start = time.monotonic()
    take_space(filler, leave=draw.randrange(64) * BLOCK)
    session = Session("full", fell, running.process.wait(LIMIT), time.monotonic() - start)
    _check_full(session, session.code, running.said())
    if session.code and draw.random() < 0.3:
        take_space(run.parent / "filler-2", leave=0)
        _check_full(session, *finish(run))
    for file in run.parent.glob("filler*"):
        file.unlink()
    return session


def _check_full(session: Session, code: int, said: str) -> None:
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    told = len(errors) == 1 and "space" in errors[0] and "Traceback" not in said
    if code not in (0, 1) or (code == 1 and not told):
        session.problems.append(f"full disk in {session.fell}: code {code}, {said[-500:]!r}")


def take_space(file: Path, *, leave: int) -> None:
    """Write zeros to `file` until at most `leave` bytes of its file system are free."""
    with file.open("ab") as stream:
        for _ in range(1000):
            disk = os.statvfs(file)
            size = disk.f_bavail * disk.f_frsize - leave
            if size <= 0:
                return
            try:
                os.posix_fallocate(stream.fileno(), stream.seek(0, os.SEEK_END), size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            # What the process wrote in between, or freed, is taken in the next round.


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of its own of `size` bytes at `folder`. Raises ExnihiloError where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExnihiloError(
            f"{folder}: cannot mount a small file system ({done.stderr.strip()}); run as root"
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
