"""Training loops of others, let on one step at a time. Only the standard library: every environment reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Loop:
    """`train`, on a thread of its own: it calls `step_ended` once a step, and waits there until it may go on.

    So a whole run as a user starts it can take turns with that of another system.
    """

    def __init__(self, train: Callable[[], object]) -> None:
        self._train = train
        self._go, self._came = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def step_ended(self) -> None:
        """Called by `train`, always at the same place of a step."""
        self._came.release()
        self._go.acquire()

    def begin(self) -> None:
        """Start `train`, and wait until it is at that place for the first time. Raises what it raises."""
        self._thread.start()
        self._wait()

    def seconds(self, steps: int) -> float:
        """Let it take so many steps, from that place to that place; the time. Raises what it raises."""
        start = time.perf_counter()
        for _ in range(steps):
            self._go.release()
            self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        self._came.acquire()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._train()
            self._error = RuntimeError("it ended before it was to")
        except BaseException as error:  # raised where somebody waits for the step
            self._error = error
        self._came.release()
