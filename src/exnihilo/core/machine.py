"""The machine that a run was on, described without saying whose it is, and how fast it multiplies."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def describe() -> dict[str, Any]:
    """CPU model, usable cores, memory (GiB), system, Python, torch and, once torch is imported, GPUs by name.

    Never the host's name, an address or a path.
    """
    found: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "os": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = str(torch.__version__)
        if torch.cuda.is_available():
            found["gpu"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return found
    try:
        found["torch"] = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        found["torch"] = None
    return found


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def usable_cores() -> int:
    """Cores that this process may use, by its affinity and its control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _control_group("cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    return cores


def memory_bytes() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _control_group("memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _control_group(name: str) -> str:
    """A limit of this process's control group (version 2), or "" where there is none."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").partition("0::")[2].splitlines()[0]
        return (Path("/sys/fs/cgroup") / group.lstrip("/") / name).read_text(encoding="ascii")
    except (OSError, IndexError):
        return ""


def matmul_peak(
    seconds: float = 0.3, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> float:
    """Measured matrix-multiply FLOP/s of a device, in float32 unless another `dtype` is given: the best product of
    several within `seconds`.

    A product of two [size, size] matrices counts 2·size³ operations. The size doubles from 512 until a product
    takes 2 ms, which keeps a large device busy and leaves time for many products on a small one. The best, not
    the mean: others' work on the machine can only slow a product down.
    """
    import torch

    where = torch.device(device)
    size, stop = 512, time.perf_counter() + seconds
    with torch.inference_mode():
        while _best_product(size, where, dtype, 0.0) < 0.002 and size < 8192:
            size *= 2
        left = stop - time.perf_counter()
        return 2 * size**3 / _best_product(size, where, dtype, max(left, 0.0))


def _best_product(size: int, device: torch.device, dtype: torch.dtype | None, seconds: float) -> float:
    """Seconds of the fastest of the products that fit into `seconds`, three at least, one more to warm up."""
    import torch

    left, right, out = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(3))
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while len(times) < 4 or time.perf_counter() < stop:
        _wait(device)
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        _wait(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
