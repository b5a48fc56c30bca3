"""What happened in a run: events.jsonl for machines, log.txt and stderr for people."""

from __future__ import annotations

import errno
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exnihilo.core.jsonl import dumps


class EventLog:
    """Appends events to `events.jsonl` and `log.txt` of a run's folder, and prints each as a line on stderr.

    With `folder=None` it only prints. Each line is appended in one write, so that two writers never mix.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def write(self, stage: str, name: str, **fields: Any) -> None:
        """Record an event. `message`, if given, is the line that people see, else name and fields."""
        now = datetime.now(UTC)
        stated = " ".join(f"{key}={value}" for key, value in fields.items())
        line = f"{stage}: {fields.get('message') or f'{name} {stated}'.strip()}"
        print(line, file=sys.stderr, flush=True)
        if self.folder is None:
            return
        record = {"time": now.isoformat(timespec="milliseconds"), "stage": stage, "event": name, **fields}
        self.folder.mkdir(parents=True, exist_ok=True)
        append_line(self.folder / "events.jsonl", dumps(record))
        append_line(self.folder / "log.txt", f"{now.astimezone().isoformat(' ', 'seconds')} {line}")


def append_line(path: Path, line: str) -> None:
    """Append a line in one system call, after ending a line that a killed writer left unfinished.

    Raises OSError when the disk is full; the file is then as it was.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        broken = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (("\n" if broken else "") + line + "\n").encode()
        if os.write(descriptor, data) < len(data):  # as much as there was space for
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)
