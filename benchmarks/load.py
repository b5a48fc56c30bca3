"""How much of the machine others used while a benchmark ran: figures of a busy machine don't count."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

BUSY = 0.05
"""Share of the processors from which on a machine counts as busy."""


class Others:
    """Counts from its making on. Linux tells what all processes used; what is not ours is others'."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._machine, self._own = _machine_seconds(), _own_seconds()

    def seconds(self) -> float | None:
        """Processor seconds that others used, children of ours that still run included; None: can't be told."""
        machine = _machine_seconds()
        if machine is None or self._machine is None:
            return None
        return (machine - self._machine) - (_own_seconds() - self._own)

    def share(self) -> float | None:
        """Those seconds as a share of what the processors had to give."""
        used = self.seconds()
        if used is None:
            return None
        available = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, used / max(available, 1e-9)))


def _machine_seconds() -> float | None:
    """Processor seconds since boot that were not idle, those that a hypervisor took away included."""
    statistics = Path("/proc/stat")
    if not statistics.is_file():
        return None
    user, nice, system, _, _, *rest = map(
        int, statistics.read_text(encoding="ascii").split("\n")[0].split()[1:9]
    )
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Processor seconds of this process and of those children that have ended."""
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in own)
