"""Systems under measurement: each in a long-lived process of its own, and only one of them running at a time."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import cache_folder, peer_python
from exnihilo.core.errors import ExnihiloError
from exnihilo.core.machine import usable_cores

ROOT = Path(__file__).parents[1]
PATIENCE = 900.0  # seconds that one answer may take; compiling 125M parameters on two busy cores took 200


class WorkerFailed(ExnihiloError):
    """A system raised an error, ended or did not answer in time."""


@dataclass(frozen=True)
class System:
    """One that is measured.

    Attributes:
        name: as the table shows it.
        module: its functions, which take and return what JSON can say.
        peer: the list in `benchmarks/peers` of its environment; None: this interpreter.
        settings: arguments of its own for the functions called by `together`.
    """

    name: str
    module: str
    peer: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def threads() -> int:
    """Threads that every system gets: OMP_NUM_THREADS, or all cores."""
    return int(os.environ.get("OMP_NUM_THREADS", 0)) or usable_cores()


class Worker:
    """The process of one system. It is stopped (SIGSTOP) whenever nothing was asked of it, so that no thread of it
    spins while another is measured. If this process dies, the system sees its stdin end, and ends."""

    def __init__(self, system: System, *, patience: float = PATIENCE) -> None:
        self.system, self.name, self.patience = system, system.name, patience
        cache = cache_folder()
        python = Path(sys.executable) if system.peer is None else peer_python(system.peer)
        logs = cache / "logs"
        logs.mkdir(exist_ok=True)
        self.log = logs / f"{system.name.replace(' ', '-').replace(',', '')}.log"
        number = str(threads())
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "") if system.peer is None else ""]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "OMP_NUM_THREADS": number,
            "MKL_NUM_THREADS": number,
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "compiled" / (system.peer or "exnihilo")),
            "HF_HUB_OFFLINE": "1",
        }
        with self.log.open("wb") as log:
            # A process group of its own, in our session: when we die while it is stopped, the system's kernel sends
            # such a group SIGHUP and SIGCONT. In a session of its own it would stay stopped for ever.
            self.process = subprocess.Popen(
                [str(python), "-m", "benchmarks.worker", system.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment,
                process_group=0,
            )
        self._pending = b""

    def call(self, function: str, **arguments: Any) -> Any:
        """Ask for `function(**arguments)` of the system's module and wait for its result.

        Raises WorkerFailed.
        """
        self.send(function, **arguments)
        return self.receive()

    def send(self, function: str, **arguments: Any) -> None:
        """Ask, without waiting; `receive` must follow."""
        stdin = self.process.stdin
        assert stdin is not None
        self._signal(signal.SIGCONT)
        try:
            stdin.write(json.dumps({"call": function, "arguments": arguments}).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError as error:
            raise WorkerFailed(f"{self.name}: ended before {function}: {self._last_words()}") from error

    def receive(self) -> Any:
        """The result of what was asked; the process stands still afterwards."""
        line = self._line()
        self._signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            lines = [line for line in answer["error"].splitlines() if line.strip()]
            with self.log.open("a", encoding="utf-8") as log:
                log.write(answer["error"])
            raise WorkerFailed(f"{self.name}: {lines[-1].strip()}; the traceback is in {self.log}")
        return answer["result"]

    def close(self, wait: float = 10.0) -> None:
        """End the process, by the end of its stdin or, when that does not help within `wait` seconds, by force."""
        self._signal(signal.SIGCONT)
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()

    def _line(self) -> bytes:
        stdout = self.process.stdout
        assert stdout is not None
        end = time.monotonic() + self.patience
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise WorkerFailed(f"{self.name}: no answer in {self.patience:g} s; look into {self.log}")
                got = os.read(stdout.fileno(), 1 << 16)
                if not got:
                    code = self.process.wait()
                    raise WorkerFailed(f"{self.name}: ended with code {code}: {self._last_words()}")
                self._pending += got
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"nothing in {self.log}")


@contextlib.contextmanager
def running(systems: Sequence[System]) -> Iterator[list[Worker]]:
    """A worker for each of `systems`, ended when the block is left."""
    workers: list[Worker] = []
    wait = 0.0  # after an error a system may be at work for minutes
    try:
        for system in systems:
            workers += [Worker(system)]
        yield workers
        wait = 10.0
    finally:
        for worker in workers:
            worker.close(wait)


def together(workers: Sequence[Worker], function: str, **arguments: Any) -> dict[str, Any]:
    """Each system's result of `function(**arguments, **its settings)`, all working at the same time.

    For what is not measured: loading, compiling. Raises WorkerFailed.
    """
    for worker in workers:
        worker.send(function, **arguments, **worker.system.settings)
    return {worker.name: worker.receive() for worker in workers}


def paired_rounds(
    workers: Sequence[Worker], function: str, rounds: int, *, seconds: float = float("inf"), **arguments: Any
) -> dict[str, list[Any]]:
    """In each round every system does `function(**arguments)` once, one after another; results by system.

    Each round begins with the next system, so that none always follows the same one. After `seconds` no further
    round begins; there are three at least. Raises WorkerFailed.
    """
    results: dict[str, list[Any]] = {worker.name: [] for worker in workers}
    until = time.monotonic() + seconds
    for number in range(rounds):
        if number >= 3 and time.monotonic() >= until:
            break
        first = number % len(workers)
        for worker in [*workers[first:], *workers[:first]]:
            results[worker.name].append(worker.call(function, **arguments))
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results
