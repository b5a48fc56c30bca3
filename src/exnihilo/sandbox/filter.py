"""The filter of system calls, as the kernel's packet filter runs it (seccomp(2))."""

from __future__ import annotations

import struct

from exnihilo.sandbox.system_calls import ALLOWED, DEPENDING

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls a machine: calls by another numbering (32 bit) kill the process."""
_OTHER_NUMBERING = 0x40000000  # x32's calls are in the range above
_KILL, _ALLOW, _FAIL = 0x80000000, 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; an argument's low word comes first
_THREAD = 0x10000  # CLONE_THREAD
_OWNED_SIGNALS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: a descriptor that signals another process
_HARMLESS_REQUESTS = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX


def program(machine: str, pid: int) -> bytes:
    """The filter for the process `pid` on `machine`, a key of `ALLOWED`.

    Allowed calls pass; of others each fails with EPERM, so that a Python program sees an OSError. `clone3` fails with
    ENOSYS, after which C libraries take `clone`, whose flags can be seen.
    """
    depending = DEPENDING[machine]
    code = [
        _step(_LOAD, _MACHINE),
        _step(_EQUAL, AUDIT[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _OTHER_NUMBERING, 0, 1),
        _step(_RETURN, _KILL),
    ]
    code += _where(depending["clone3"], [_step(_RETURN, _FAIL | _ENOSYS)])
    code += _where(depending["clone"], [_argument(0), _step(_ANY_BIT, _THREAD, 1, 0), *_ends()])
    code += _where(depending["tgkill"], [_argument(0), _step(_EQUAL, pid, 1, 0), *_ends()])
    code += _where(depending["prlimit64"], [_argument(0), _step(_EQUAL, 0, 1, 0), *_ends()])
    code += _where(depending["ioctl"], [_argument(1), *_among(_HARMLESS_REQUESTS, _ALLOW), _fail()])
    code += _where(depending["fcntl"], [_argument(1), *_among(_OWNED_SIGNALS, _FAIL | _EPERM), _allow()])
    code += _among(sorted(ALLOWED[machine].values()), _ALLOW)
    return b"".join([*code, _fail()])


def _step(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, if_true, if_false, value)


def _argument(number: int) -> bytes:
    return _step(_LOAD, _ARGUMENTS + 8 * number)


def _where(call: int, then: list[bytes]) -> list[bytes]:
    """`then`, which returns, for one call."""
    return [_step(_EQUAL, call, 0, len(then)), *then]


def _among(values: tuple[int, ...] | list[int], result: int) -> list[bytes]:
    """Return `result` for any of the values."""
    return [step for value in values for step in (_step(_EQUAL, value, 0, 1), _step(_RETURN, result))]


def _ends() -> list[bytes]:
    """What a test with jumps (1, 0) leads to: failure, or one further success."""
    return [_fail(), _allow()]


def _fail() -> bytes:
    return _step(_RETURN, _FAIL | _EPERM)


def _allow() -> bytes:
    return _step(_RETURN, _ALLOW)
