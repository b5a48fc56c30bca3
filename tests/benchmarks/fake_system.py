"""A system that needs nothing but the standard library: it sleeps as long as it is told to."""

from __future__ import annotations

import os
import time
from typing import Any


def prepare(slow: bool = False) -> dict[str, Any]:
    """Its process, its threads and its settings."""
    return {"process": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"], "slow": slow}


def measure(duration: float) -> dict[str, float]:
    """Sleep; when that began and ended by the machine's clock."""
    began = time.monotonic()
    time.sleep(duration)
    return {"began": began, "ended": time.monotonic(), "seconds": time.monotonic() - began}


def talk() -> str:
    """Print as libraries do, and as compiled code does."""
    print("a line that is no answer", flush=True)
    os.write(1, b"{}\n")
    return "said"


def fail() -> None:
    raise ValueError("nothing to measure here")


def leave() -> None:
    os.write(2, b"out of memory, says the kernel\n")
    os._exit(7)
