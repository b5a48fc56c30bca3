"""Batches assembled while the model computes."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from exnihilo.tokens.batch import Batch, Source
from exnihilo.tokens.state import Scalars


class Prefetch:
    """A source that asks `source` for the batch after the one it hands out, on a thread of its own.

    For sources that ignore the model; the order of batches is that of `source`. Use as a context manager.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._ahead: tuple[int, Future[Batch]] | None = None

    def next(self, step: int, model: Any) -> Batch:
        """The batch of `step`; an error of the source is raised here, at the step it belongs to."""
        step_ahead, future = self._ahead or (None, None)
        if step_ahead != step or future is None:
            future = self._submit(step)
        batch = future.result()
        self._ahead = (step + 1, self._submit(step + 1))
        return batch

    def state(self) -> dict[str, int | float | str]:
        return self.source.state()

    def resume(self, state: Scalars) -> None:
        """Before the first batch is asked for."""
        self.source.resume(state)

    def _submit(self, step: int) -> Future[Batch]:
        return self._executor.submit(self.source.next, step, None)

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
