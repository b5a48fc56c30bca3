"""What a case of bad input is, how it is run, and the ways to spoil a file."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANYTHING = "…"
"""Stands, in an answer, for what another version of a library or another machine may say there."""


def nothing() -> None:
    """What is done for a case whose files say it all."""


@dataclass(frozen=True)
class Case:
    """A bad input: how it comes about, the command that meets it, and all that is answered.

    The command runs in a copy of the good world, after `files` were written there and `make` was called. `answer`
    holds every line that begins with `error: `, in order, and other lines that must be among those printed.
    `process` runs it as a process of its own, with `limits` on its resources. `permissions` of files do
    not bind root: such a case is skipped for it.
    """

    wrong: str
    command: str
    code: int
    answer: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    make: Callable[[], object] = nothing
    during: Callable[[], AbstractContextManager[object]] = nullcontext
    environ: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    process: bool = False
    limits: Mapping[int, int] = field(default_factory=dict)
    permissions: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    def problem(self, case: Case) -> str | None:
        """How this differs from what the case says, or None."""
        wanted = case.answer.splitlines()
        errors = [line for line in wanted if line.startswith("error: ")]
        printed = [line.strip() for line in (self.out + "\n" + self.err).splitlines()]
        other = [line for line in wanted if line not in errors]
        same = len(errors) == len(self.errors) and all(map(is_like, errors, self.errors))
        if self.code == case.code and same and all(any(is_like(w, p) for p in printed) for w in other):
            return None
        printed_now = f"stderr:\n{self.err}\nstdout:\n{self.out}"
        return f"exit code {self.code}, wanted {case.code}\nwanted:\n{case.answer}\n{printed_now}"


def is_like(wanted: str, printed: str) -> bool:
    """Whether a line is the one wanted, with anything in the place of each `…`."""
    return re.fullmatch(".+".join(map(re.escape, wanted.split(ANYTHING))), printed) is not None


def run_process(case: Case) -> Outcome:
    """Run the command of a case in a process of its own, in the working directory."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for kind, value in case.limits.items():
            resource.setrlimit(kind, (value, value))

    own = {name: value for name, value in os.environ.items() if not name.startswith("EXNIHILO_")}
    environ = {
        **own,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "exnihilo", *shlex.split(case.command)],
        input=case.stdin,
        capture_output=True,
        env={**environ, **case.environ},
        preexec_fn=limit if case.limits else None,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def cut(path: str, size: int = -20) -> None:
    """Keep the first bytes of a file; a negative size takes so many off its end."""
    file = Path(path)
    file.write_bytes(file.read_bytes()[:size])


def flip(path: str) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(path).write_bytes(data)


def edit(path: str, **changes: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    file = Path(path)
    values = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def rows(*values: Any) -> str:
    """JSON Lines."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def said(*turns: str) -> dict[str, Any]:
    """A row of a user and an assistant in turns."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]}
