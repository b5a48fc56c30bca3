"""Programs in the sandbox: what they may do, and everything that they may not (gen-7, eval-9)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from exnihilo.core.errors import Refused
from exnihilo.sandbox import run as sandbox
from exnihilo.sandbox.filter import AUDIT, program
from exnihilo.sandbox.run import Limits, Outcome, isolation, run
from exnihilo.sandbox.system_calls import ALLOWED, DEPENDING

LAYERS, REASON = isolation()
isolated = pytest.mark.skipif(not LAYERS, reason=REASON)
SHORT = Limits(seconds=20.0)


def last(outcome: Outcome) -> str:
    return (outcome.stderr.strip().splitlines() or [""])[-1]


@isolated
def test_a_program_computes_reads_and_prints() -> None:
    code = """
import asyncio, collections, decimal, fractions, itertools, json, math, random, re, statistics, sys, threading, unittest
def later(): print("from a thread")
one = threading.Thread(target=later); one.start(); one.join()
async def both(): return await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))
print(asyncio.run(both()), sum(map(int, sys.stdin.read().split())), decimal.Decimal("0.1") * 3)
assert sys.argv == ["program"] and __name__ == "__main__"
sys.exit(7)
"""
    done = run(code, stdin="1 2\n3", limits=SHORT)
    assert (done.how, done.code) == ("ended", 7), done.stderr
    assert done.stdout == "from a thread\n[1, 2] 6 0.3\n"
    assert done.layers[1:] == ("seccomp", "limits") and done.layers[0].startswith("Landlock ")


@isolated
def test_an_exception_is_told_with_its_line() -> None:
    done = run("x = 1\nassert x == 2, 'no'", limits=SHORT)
    assert (done.how, done.code, last(done)) == ("ended", 1, "AssertionError: no")
    assert 'File "<program>", line 2' in done.stderr
    assert last(run("def f(:", limits=SHORT)).startswith("SyntaxError")


REFUSED = ("PermissionError", "BlockingIOError", "OSError")
CALL = "import ctypes; c = ctypes.CDLL(None, use_errno=True); r = c.syscall({}); print(r, ctypes.get_errno())"


@isolated
@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', {port}))",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
        "import socket; socket.socket(socket.AF_UNIX).bind({secret!r} + '.socket')",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}')",
        "open({secret!r}).read()",
        "open({secret!r}, 'a').write('x')",
        "open({folder!r} + '/new', 'w')",
        "import os; os.listdir({folder!r})",
        "import os; os.symlink({secret!r}, {folder!r} + '/a-link')",
        "import os; os.link({secret!r}, {folder!r} + '/a-link')",
        "import os; os.unlink({secret!r})",
        "import os; os.rename({secret!r}, {secret!r} + '.gone')",
        "import os; os.truncate({secret!r}, 0)",
        "import os; os.chmod({secret!r}, 0o777)",
        "import os; os.utime({secret!r}, (1, 1))",
        "import os; os.mkdir({secret!r} + '.folder')",
        "open('/proc/self/environ').read()",
        "open('/proc/{pid}/environ').read()",
        "open('/proc/self/mem', 'r+b')",
        "open('/etc/passwd').read()",
        "import os\nwhile True: os.fork()",
        "import multiprocessing as m; m.Process(target=print).start()",
        "import subprocess; subprocess.run(['sh', '-c', 'echo out'])",
        "import os; os.system('echo out') and os.execv('/bin/sh', ['sh', '-c', 'echo out'])",
        "import os; os.kill({pid}, 0)",
        "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
        "import os, signal; os.killpg(0, signal.SIGKILL)",
        "import resource; resource.prlimit({pid}, resource.RLIMIT_CPU, (1, 1))",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "import fcntl, socket; fcntl.fcntl(socket.socketpair()[0], fcntl.F_SETOWN, {pid})",
        "import os; os.memfd_create('x')",
        "import os; os.sched_setaffinity(0, [0])",
        "import os; os.setuid(0) or os.chroot('/')",
        "import numpy",
        "import exnihilo",
    ],
)
def test_gen_7_eval_9_an_escape_fails_and_leaves_no_trace(code: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("dear")
    before = (secret.stat().st_mode, secret.stat().st_mtime)
    given = code.format(secret=str(secret), folder=str(tmp_path), pid=os.getpid(), port=1)
    done = run(given, limits=SHORT)
    assert done.how == "ended" and done.code != 0 and "dear" not in done.stdout + done.stderr
    assert last(done).startswith(
        (*REFUSED, "ModuleNotFoundError", "ValueError")
    ) or "Operation not permitted" in last(done)
    assert "out" not in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"] and secret.read_text() == "dear"
    assert before == (secret.stat().st_mode, secret.stat().st_mtime)


@isolated
@pytest.mark.parametrize(
    "name", ["socket", "ptrace", "fork", "execve", "mount", "bpf", "io_uring_setup", "shmget"]
)
def test_raw_system_calls_are_refused_too(name: str) -> None:
    numbers = {"socket": 41, "ptrace": 101, "fork": 57, "execve": 59, "mount": 165, "bpf": 321, "io_uring_setup": 425,
               "shmget": 29}  # fmt: skip
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86_64")
    assert run(CALL.format(f"{numbers[name]}, 0, 0, 0"), limits=SHORT).stdout == "-1 1\n"


@isolated
@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("while True: pass", "time"),
        ("import time; time.sleep(60)", "time"),
        ("import signal, os\nfor n in range(1, 32):\n  if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\n"
         "while True: pass", "time"),
        ("import os, time; os.close(1); os.close(2); time.sleep(60)", "time"),
        ("9 ** 9 ** 9", "time"),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory"),
        ("x = 'x' * (1 << 40)", "memory"),
        ("while True: print('x' * 1000, flush=True)", "output"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output"),
    ],
)  # fmt: skip
def test_too_much_of_anything_ends_a_program(code: str, how: str) -> None:
    done = run(code, limits=Limits(seconds=20.0 if how != "time" else 1.0, memory=256 << 20, output=10_000))
    assert done.how == how
    assert done.seconds < 15 and len(done.stdout) + len(done.stderr) < 100_000


@isolated
def test_a_program_that_crashes_the_interpreter_is_an_outcome() -> None:
    assert run("import ctypes; ctypes.string_at(0)", limits=SHORT).code == -11
    assert run("import os; os._exit(3)", limits=SHORT).code == 3


@isolated
def test_stdin_of_a_megabyte_and_half_of_a_surrogate_pair() -> None:
    assert run("print(len(input()))", stdin="x" * 1_000_000, limits=SHORT).stdout == "1000000\n"
    assert run("print(1)", stdin="x" * 1_000_000, limits=SHORT).stdout == "1\n"
    assert last(run("print('\ud800')", limits=SHORT)).startswith("UnicodeEncodeError")


@isolated
def test_programs_run_from_threads() -> None:
    done: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: done.append(run(f"print({n})", limits=SHORT).stdout))
        for n in range(6)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(done) == [f"{n}\n" for n in range(6)]


@isolated
def test_a_program_dies_with_whoever_asked(tmp_path: Path) -> None:
    code = "from exnihilo.sandbox.run import run, Limits; run('import time; time.sleep(60)', limits=Limits(seconds=60))"
    asking = subprocess.Popen([sys.executable, "-c", code])
    children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
    child = ""
    while not (child and b"jail" in Path(f"/proc/{child}/cmdline").read_bytes()):
        child = children.read_text().strip()
    asking.kill()
    asking.wait()
    for _ in range(1000):
        status = Path(f"/proc/{child}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        threading.Event().wait(0.01)
    pytest.fail("it goes on")


def test_where_nothing_isolates_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "isolation", lambda: ((), "no Landlock"))
    with pytest.raises(Refused, match=r"can't isolate a program \(no Landlock\), so none is run"):
        run("print(1)")
    done = run("print(1)", limits=SHORT, unisolated=True)
    assert (done.stdout, done.layers) == ("1\n", ())


@pytest.mark.parametrize("machine", AUDIT)
def test_the_filter_is_whole_for_every_machine(machine: str) -> None:
    steps = program(machine, 1234)
    assert len(steps) % 8 == 0 and len(steps) // 8 < 4096  # the kernel's bound
    assert not {"socket", "fork", "execve", "kill", "ptrace", "mount"} & {
        *ALLOWED[machine],
        *DEPENDING[machine],
    }
    assert not {*ALLOWED[machine].values()} & {*DEPENDING[machine].values()}
