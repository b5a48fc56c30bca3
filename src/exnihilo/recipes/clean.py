"""Removing what a run keeps of its replaced artifacts."""

from __future__ import annotations

import shutil
from pathlib import Path

from exnihilo.core.errors import Refused
from exnihilo.core.lock import hold
from exnihilo.core.session import REPLACED


def clean(folder: Path) -> tuple[list[str], int]:
    """Remove `.replaced` from a run's folder; return (names of what it held, bytes freed).

    Raises Refused if there is no such folder, or a process works in it.
    """
    if not folder.is_dir():
        raise Refused(f"{folder}: no such folder; give the folder of a run, such as runs/quickstart")
    place = folder / REPLACED
    if not place.is_dir():
        return [], 0
    with hold(folder / ".lock", folder):
        names = sorted(path.name for path in place.iterdir())
        size = sum(path.lstat().st_size for path in place.rglob("*") if path.is_file())
        shutil.rmtree(place)
    return names, size
