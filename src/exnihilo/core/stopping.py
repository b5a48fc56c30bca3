"""One SIGTERM or Ctrl-C asks for a stop at the next good moment; a second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_caught: list[int] | None = None
"""The signals that came since the outermost block was entered; None outside of one."""


@contextmanager
def stop_signal() -> Iterator[Callable[[], int | None]]:
    """Catch the stop signals inside the block; yields what tells the number of the one that came, or None.

    Blocks may be nested: what came in the outer one is told in the inner one, too. Outside of the main thread,
    where Python lets nobody catch signals, it only ever tells None.
    """
    global _caught
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    if _caught is not None:
        outer = _caught
        yield lambda: outer[0] if outer else None
        return
    caught: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        # os.write: a print could meet the lock of a stream that the interrupted code holds.
        if caught:
            os.write(2, b"\x1b[?25h\n" if sys.stderr.isatty() else b"\n")  # a bar has hidden the cursor
            os._exit(128 + number)
        caught.append(number)
        os.write(2, b"\nstopping at the next safe point; once more to stop at once\n")

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    _caught = caught
    try:
        yield lambda: caught[0] if caught else None
    finally:
        _caught = None
        for number, handler in before.items():
            signal.signal(number, handler)
