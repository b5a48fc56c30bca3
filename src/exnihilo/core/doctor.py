"""`exnihilo doctor`: is this machine fit, and if not, what to do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exnihilo.core import machine, provenance

MEMORY_GIB = 4.0
"""What the quickstart stays under."""
DISK_GIB = 2.0
"""Room for a run with its checkpoints."""
SLOW_FLOPS = 5e9
"""Below this a float32 product does not use the vector units: a core of today does ten times more."""


@dataclass(frozen=True)
class Check:
    """One thing looked at: `ok` is None where it is absent but not needed; `fix` is what to do then."""

    name: str
    ok: bool | None
    detail: str
    fix: str = ""


def diagnose(extra: Sequence[Callable[[], Check]] = ()) -> list[Check]:
    """Look at versions, cores, memory, each device, disk, compiler and extras, then at the `extra` checks."""
    checks = [_versions(), _cores(), _memory(), *_devices(), _disk(Path.cwd()), _compiler(), *_extras()]
    return [*checks, *(check() for check in extra)]


def _versions() -> Check:
    found = {
        "exnihilo": provenance.code()["version"],
        "python": platform.python_version(),
    } | provenance.libraries()
    ok = "torch" in found
    fix = "" if ok else "pip install torch, or pip install exnihilo again"
    return Check("versions", ok, ", ".join(f"{name} {version}" for name, version in found.items()), fix)


def _cores() -> Check:
    cores = machine.usable_cores()
    detail = f"{cores} usable of {os.cpu_count()} ({machine.cpu_model()})"
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) < cores:
        return Check("cores", True, f"{detail}; OMP_NUM_THREADS={threads} uses fewer")
    return Check("cores", True, detail)


def _memory() -> Check:
    total = machine.memory_bytes() / 2**30
    fix = (
        ""
        if total >= MEMORY_GIB
        else f"the quickstart takes up to {MEMORY_GIB:.0f} GiB: use a smaller recipe (smoke)"
    )
    return Check("memory", total >= MEMORY_GIB, f"{total:.1f} GiB", fix)


def _devices() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check("torch", False, f"cannot be imported ({error})", "pip install exnihilo again")
        return
    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    for name in names:
        shown = f" ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else ""
        try:
            flops = machine.matmul_peak(0.2, name)
        except RuntimeError as error:
            yield Check(
                f"multiply on {name}", False, " ".join(str(error).split()), "check the device's driver"
            )
            continue
        fix = (
            "" if flops >= SLOW_FLOPS else "is the machine busy, or torch built without vector instructions?"
        )
        yield Check(
            f"multiply on {name}", flops >= SLOW_FLOPS, f"{flops / 1e9:.0f} GFLOP/s float32{shown}", fix
        )


def _disk(folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x")
    except OSError as error:
        return Check(
            "disk", False, f"cannot write here ({error.strerror})", "go to a folder that you may write to"
        )
    free = shutil.disk_usage(folder).free / 2**30
    fix = (
        ""
        if free >= DISK_GIB
        else f"a run takes up to {DISK_GIB:.0f} GiB: free some, or run elsewhere with --run DIR"
    )
    return Check("disk", free >= DISK_GIB, f"{free:.1f} GiB free, writable here", fix)


def _compiler() -> Check:
    found = next(
        (name for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name and shutil.which(name)), None
    )
    if found:
        return Check("compiler", True, Path(found).name)
    return Check("compiler", None, "none", "only torch.compile on a CPU needs one: install gcc or clang")


def _extras() -> Iterator[Check]:
    """The package's extras, as its own metadata lists them."""
    try:
        requirements = importlib.metadata.requires("exnihilo") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "extras", None, "not known: exnihilo runs from a folder", "pip install -e . in that folder"
        )
        return
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra == ["']([\w.-]+)["']""", requirement)
        if name and extra and name[0] != "exnihilo":
            extras.setdefault(extra[1], []).append(name[0])
    for extra_name, packages in sorted(extras.items()):
        missing = [package for package in packages if not _installed(package)]
        fix = f"pip install 'exnihilo[{extra_name}]'" if missing else ""
        detail = f"without {', '.join(missing)}" if missing else "installed"
        yield Check(f"extra {extra_name}", None if missing else True, detail, fix)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
