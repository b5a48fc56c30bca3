"""Programs that a model wrote, run where they can do no harm: no network, no files, no processes, limits on the rest.

Three layers of Linux hold each program, and an outcome names them: Landlock (files), seccomp (system calls) and
resource limits. None needs a privilege. Where the kernel has them not, nothing is run.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import selectors
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from functools import cache
from typing import Literal

from exnihilo.core.errors import Refused
from exnihilo.sandbox import jail
from exnihilo.sandbox.filter import AUDIT, program

LEAST_LANDLOCK = 3
"""The first version that also guards what is cut off (Linux 6.2)."""
READABLE = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/dev/urandom",
)
"""What Python itself reads, beside its own library."""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What a program may use: seconds by the clock and of the processor, bytes of memory and of output."""

    seconds: float = 5.0
    memory: int = 512 << 20
    output: int = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """What a program came to.

    Attributes:
        how: "ended" (with `code`), or what it had too much of: "time", "memory" or "output".
        code: exit code; -9 and so on for a signal.
        stdout: what it printed, cut at the limit, and so `stderr`.
        layers: what held it; empty where nothing did.
    """

    how: Literal["ended", "time", "memory", "output"]
    code: int
    stdout: str
    stderr: str
    seconds: float
    layers: tuple[str, ...]


def run(code: str, *, stdin: str = "", limits: Limits | None = None, unisolated: bool = False) -> Outcome:
    """Run a Python program of the standard library.

    Raises Refused where this machine can't isolate it, unless `unisolated` says that it shall run all the same: then
    with your rights, on your files.
    """
    limits = limits or Limits()
    layers, reason = isolation()
    if not layers and not unisolated:
        raise Refused(
            f"sandbox: this machine can't isolate a program ({reason}), so none is run; use Linux 6.2 or later on "
            "x86_64 or aarch64, or say unisolated where you trust what is run"
        )
    receiving, sending = os.pipe()
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", jail.__file__, str(receiving)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(receiving,),
        cwd="/",
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    os.close(receiving)
    try:
        with os.fdopen(sending, "w", encoding="utf-8", errors="surrogatepass") as stream:
            json.dump(_given(code, process.pid, limits, isolated=bool(layers)), stream)
        told, too_much = _exchange(process, stdin.encode(errors="replace"), limits, started)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return _outcome(process.returncode, told, too_much, time.monotonic() - started, layers)


@cache
def isolation() -> tuple[tuple[str, ...], str]:
    """The layers that hold a program on this machine, or none and the reason."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in AUDIT:
        return (), f"{sys.platform} on {machine}"
    version = ctypes.CDLL(None, use_errno=True).syscall(jail.LANDLOCK_CREATE, None, 0, 1)
    if version < LEAST_LANDLOCK:
        return (), f"Landlock {max(version, 0)}, and {LEAST_LANDLOCK} is needed"
    return (f"Landlock {version}", "seccomp", "limits"), ""


def _given(code: str, pid: int, limits: Limits, *, isolated: bool) -> dict[str, object]:
    """What `jail` is told."""
    machine = platform.machine()
    seconds = int(limits.seconds) + 1
    return {
        "code": code,
        "isolated": isolated,
        "parent": os.getpid(),
        "machine": machine,
        "filter": program(machine, pid).hex() if isolated else "",
        "readable": [*READABLE, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")],
        "limits": {
            "RLIMIT_AS": limits.memory,
            "RLIMIT_CPU": seconds,
            "RLIMIT_FSIZE": 0,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_CORE": 0,
        },
    }


def _exchange(
    process: subprocess.Popen[bytes], stdin: bytes, limits: Limits, started: float
) -> tuple[list[bytes], Literal["time", "output"] | None]:
    """Feed stdin and collect stdout and stderr until both end, or there is too much of something."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    told = [b"", b""]
    with selectors.DefaultSelector() as waiting:
        for number, pipe in enumerate((process.stdout, process.stderr)):
            waiting.register(pipe, selectors.EVENT_READ, number)
        os.set_blocking(process.stdin.fileno(), False)
        waiting.register(process.stdin, selectors.EVENT_WRITE)
        while waiting.get_map():
            left = limits.seconds - (time.monotonic() - started)
            if left <= 0:
                return told, "time"
            for key, _ in waiting.select(left):
                if key.data is None:
                    stdin = _feed(process, stdin, waiting)
                    continue
                part = os.read(key.fd, _CHUNK)
                if not part:
                    waiting.unregister(key.fileobj)
                told[key.data] += part
                if sum(map(len, told)) > limits.output:
                    return told, "output"
    try:
        process.wait(max(0.0, limits.seconds - (time.monotonic() - started)))
    except subprocess.TimeoutExpired:  # it closed both and goes on
        return told, "time"
    return told, None


def _feed(process: subprocess.Popen[bytes], stdin: bytes, waiting: selectors.BaseSelector) -> bytes:
    """Write what the pipe takes; what is left."""
    assert process.stdin is not None
    try:
        stdin = stdin[os.write(process.stdin.fileno(), stdin[:_CHUNK]) :] if stdin else b""
    except BrokenPipeError:
        stdin = b""
    if not stdin:
        waiting.unregister(process.stdin)
        process.stdin.close()
    return stdin


def _outcome(
    code: int,
    told: list[bytes],
    too_much: Literal["time", "output"] | None,
    seconds: float,
    layers: tuple[str, ...],
) -> Outcome:
    stdout, stderr = (part.decode("utf-8", "replace") for part in told)
    if code == jail.NOT_ISOLATED and stderr.startswith("sandbox: "):
        raise Refused(f"{stderr.strip()}: the program could not be isolated, and was not run")
    how: Literal["ended", "time", "memory", "output"] = too_much or "ended"
    if too_much is None and code == jail.OUT_OF_MEMORY:
        how = "memory"
    elif too_much is None and code == -24:  # SIGXCPU
        how = "time"
    return Outcome(how, code, stdout, stderr, seconds, layers)
