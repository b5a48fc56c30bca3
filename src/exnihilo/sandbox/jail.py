"""What the process in the sandbox runs first: it gives up all that it could do harm with, then runs the program.

It is run as a script by an interpreter without site packages, so it imports nothing but the standard library. What it
is given (`run.py` writes it) comes as JSON through a descriptor.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

OUT_OF_MEMORY, NOT_ISOLATED = 91, 92
"""Exit codes that say what Python's own would not."""
SET_PARENT_DEATH_SIGNAL, SET_SECCOMP, SET_NO_NEW_PRIVILEGES = 1, 22, 38  # prctl
CAPSET = {"x86_64": 126, "aarch64": 91}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
ALL_FILES = (1 << 15) - 1  # every right of Landlock's third version


class RulesetAttributes(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64)]


class PathAttributes(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


class Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def isolate(given: dict[str, Any]) -> None:
    """Limits, then no privileges, then no files but the readable ones, then no calls but the allowed ones.

    Raises OSError where the kernel refuses any of it.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    for name, value in given["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    checked(libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != given["parent"]:
        raise OSError("whoever asked is gone")
    checked(libc.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    checked(
        libc.syscall(CAPSET[given["machine"]], ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    )

    attributes = RulesetAttributes(ALL_FILES, 0)
    rules = checked(libc.syscall(LANDLOCK_CREATE, ctypes.byref(attributes), 8, 0))
    for path in given["readable"]:
        try:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # what is not there can't be read
        rights = READ_FILE | READ_DIR | EXECUTE if os.path.isdir(path) else READ_FILE  # noqa: PTH112
        beneath = PathAttributes(rights, folder)
        checked(libc.syscall(LANDLOCK_ADD, rules, 1, ctypes.byref(beneath), 0))
        os.close(folder)
    checked(libc.syscall(LANDLOCK_RESTRICT, rules, 0))
    os.close(rules)

    steps = bytes.fromhex(given["filter"])
    memory = ctypes.create_string_buffer(steps, len(steps))
    program = Filter(len(steps) // 8, ctypes.cast(memory, ctypes.c_void_p))
    checked(libc.prctl(SET_SECCOMP, 2, ctypes.byref(program), 0, 0))


def main() -> None:
    """Isolate, then run the program as `__main__`."""
    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as stream:
        given = json.load(stream)
    if given["isolated"]:
        try:
            isolate(given)
        except OSError as error:
            print(f"sandbox: {error}", file=sys.stderr)
            os._exit(NOT_ISOLATED)
    sys.argv = ["program"]
    try:
        exec(compile(given["code"], "<program>", "exec"), {"__name__": "__main__"})
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    main()
