"""What surrounds all work in a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from exnihilo.core.disk import disk_errors_told
from exnihilo.core.lock import hold
from exnihilo.core.stopping import stop_signal
from exnihilo.recipes.log import keep_traceback


@contextmanager
def working_in(folder: Path) -> Iterator[Callable[[], int | None]]:
    """Work in `folder` alone; yields what tells which signal, if any, asked to stop.

    What ends the work is kept in the folder's log, and a full disk told in one line. Raises Refused where another
    process works there.
    """
    with (
        stop_signal() as stopped,
        hold(folder / ".lock", folder),
        keep_traceback(folder),
        disk_errors_told(folder),
    ):
        yield stopped
