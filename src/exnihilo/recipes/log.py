"""Failures in a run's log.txt, where they can be read after the terminal is gone."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exnihilo.core.events import append_line


@contextmanager
def keep_traceback(folder: Path) -> Iterator[None]:
    """Append the traceback of whatever ends the block to `log.txt` of a run's folder, and let it pass."""
    try:
        yield
    except BaseException:
        # Where there is no space or no permission, that is what has just failed, and what has to be told.
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            append_line(folder / "log.txt", traceback.format_exc().rstrip())
        raise
