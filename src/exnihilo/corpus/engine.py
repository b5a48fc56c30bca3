"""Where the work on shards is done: in this process, or in several of this machine.

A task is a function of a module with one argument that can be pickled; it writes its result to a file of its own and
returns something small. So it is the same work wherever it is done, and a file that is there needs no second run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from exnihilo.core.errors import ExnihiloError

Task = TypeVar("Task")
Result = TypeVar("Result")

_PATIENCE = 1.0  # seconds between two looks at whether the user asked to stop


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """The results of `function` for each task, in the order in which they are done.

    Args:
        workers: processes, at most one a task; None: one for each core that this process may use. With one, or for one
            task, the work is done here.
        check: called every second; what it raises ends the work.

    Raises:
        ExnihiloError: a worker was killed, as the kernel does where memory ends.
        What `function` raises.
    """
    workers = min(len(tasks), workers or len(os.sched_getaffinity(0)))
    if workers <= 1:
        for task in tasks:
            check()
            yield function(task)
        return
    # Spawned: a fork would take over whatever threads of torch and Arrow hold at that moment.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_leave_signals_to_parent
    )
    try:
        waiting = {pool.submit(function, task) for task in tasks}
        while waiting:
            done, waiting = wait(waiting, timeout=_PATIENCE, return_when=FIRST_COMPLETED)
            check()
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise ExnihiloError(
            f"a worker of {workers} was killed, as happens where memory ends; give fewer workers, or run again to go on"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_signals_to_parent() -> None:
    """Ctrl-C reaches every process of a terminal's group; only the parent answers it, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
