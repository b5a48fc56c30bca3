"""The one thread that runs all generation of a server, so that its event loop never waits for a model."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from exnihilo.core.errors import ExnihiloError
from exnihilo.infer.chat import Event


class Busy(ExnihiloError):
    """The queue is full."""


@dataclass(eq=False)
class Job:
    """An answer to be generated: `events` is advanced in the engine's thread, `deliver` is called there too.

    A failure is delivered as the exception. After `cancel` nothing more is generated.
    """

    events: Generator[Event, None, None]
    deliver: Callable[[Event | Exception], object]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self.cancelled.set()


class Engine:
    """Runs up to `together` jobs in turns of one token each, while up to `waiting` others wait."""

    def __init__(self, *, together: int = 4, waiting: int = 16) -> None:
        self.together, self.waiting = together, waiting
        self._queue: deque[Job] = deque()
        self._active: list[Job] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="exnihilo-engine", daemon=True)

    @property
    def active(self) -> int:
        """Jobs being answered."""
        return len(self._active)

    @property
    def queued(self) -> int:
        """Jobs waiting."""
        return len(self._queue)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Give up all jobs and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def submit(self, job: Job) -> None:
        """Queue a job. Raises Busy where `waiting` others wait already."""
        with self._changed:
            # A client that left while it waited holds no place.
            self._queue = deque(other for other in self._queue if not other.cancelled.is_set())
            if len(self._queue) >= self.waiting:
                raise Busy(f"{len(self._queue)} answers are waiting already; try again in a moment")
            self._queue.append(job)
            self._changed.notify()

    def _run(self) -> None:
        while self._admit():
            for job in list(self._active):
                if self._stopping or job.cancelled.is_set() or not self._advance(job):
                    self._active.remove(job)
                    job.events.close()

    def _admit(self) -> bool:
        """Fill the free places; wait while there is nothing to do. False once the engine has stopped."""
        with self._changed:
            while not (self._active or self._queue or self._stopping):
                self._changed.wait()
            while self._queue and len(self._active) < self.together and not self._stopping:
                self._active.append(self._queue.popleft())
            return bool(self._active) or not self._stopping

    def _advance(self, job: Job) -> bool:
        """One step of a job; False when it is over."""
        try:
            job.deliver(next(job.events))
        except StopIteration:
            return False
        except (
            Exception
        ) as error:  # whatever fails here is for its client to hear, and the thread must live on
            if not isinstance(error, ExnihiloError):
                traceback.print_exc()
            job.deliver(error)
            return False
        return True
