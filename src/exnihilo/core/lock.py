"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exnihilo.core.disk import disk_errors_told
from exnihilo.core.errors import Refused


@contextmanager
def hold(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file at `path` while working in `what`. Raises Refused, naming the process that has it.

    The kernel lets go of the lock when its process ends, however it ends, so a lock is never left behind; the
    file stays, for removing it would let two processes lock two files of one name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+")
    except OSError as error:
        raise Refused(
            f"{path.parent}: cannot write there ({error.strerror}); choose another folder"
        ) from error
    with opened as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            message = (
                f"another exnihilo (pid {owner}) is working in {what}; wait for it or use another folder"
            )
            raise Refused(message) from None
        with disk_errors_told(what):
            stream.truncate(0)
            os.write(stream.fileno(), str(os.getpid()).encode())
        yield
