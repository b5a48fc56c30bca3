"""How much memory a process took for a model and its training. Only the standard library."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def resident() -> float:
    """MiB that this process holds now; NaN where the system doesn't tell."""
    return _field("VmRSS")


def peak_resident() -> float:
    """MiB that it held at most since it began; NaN where the system doesn't tell."""
    return _field("VmHWM")


def _field(name: str) -> float:
    if not STATUS.is_file():
        return float("nan")
    lines = dict(
        line.split(":", 1) for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    )
    return int(lines[name].split()[0]) / 1024
