"""What a stage writes into while it works: the folder that becomes its artifact, and the run's records."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from exnihilo.core.errors import Interrupted
from exnihilo.core.events import EventLog, append_line
from exnihilo.core.files import write_atomic
from exnihilo.core.jsonl import dumps
from exnihilo.core.progress import Progress, progress

STEPPED = ("metrics.jsonl", "samples.jsonl", "norms.jsonl", "advice.jsonl")
"""The records whose lines belong to steps."""


class Workspace:
    """A stage's working folder and its records.

    What lies under `checkpoints` is all that outlives a killed session: when there is something in it, the
    stage finds its folder as it was and continues (`truncate_records` first); when there is nothing, the
    folder is emptied and the stage starts again. `checkpoints` is removed when the artifact is published.
    """

    def __init__(
        self,
        path: Path,
        *,
        seed: int = 0,
        stage: str = "stage",
        resume: str = "auto",
        log: EventLog | None = None,
        stop_signal: Callable[[], int | None] = lambda: None,
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.seed = seed
        self.stage = stage
        self.resume = resume
        self.provenance: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.lines: list[str] = []
        self._log = log or EventLog(None)
        self._stop_signal = stop_signal
        self._saves_on_stop = False
        self._last_step: dict[str, float] = {}

    @property
    def checkpoints(self) -> Path:
        """Where the stage keeps what it needs to continue; made when first asked for."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        return folder

    def metric(self, **record: Any) -> None:
        """Append a line to metrics.jsonl. Raises ValueError if its `step` is before the last one written."""
        self._append("metrics.jsonl", record)

    def sample(self, **record: Any) -> None:
        """Append a line to samples.jsonl (what the model said at a step). Steps as in `metric`."""
        self._append("samples.jsonl", record)

    def record(self, name: str, **record: Any) -> None:
        """Append a line to another of the stage's records (`STEPPED`). Steps as in `metric`."""
        self._append(name, record)

    def _append(self, name: str, record: dict[str, Any]) -> None:
        step = record.get("step")
        if step is not None:
            if name not in self._last_step:
                self._last_step[name] = max(
                    (s for _, s in self._records(name) if s is not None), default=step
                )
            if step < self._last_step[name]:
                raise ValueError(
                    f"{name}: step {step} after {self._last_step[name]}; call truncate_records first"
                )
            self._last_step[name] = step
        append_line(self.path / name, dumps(record))

    def _records(self, name: str) -> list[tuple[str, float | None]]:
        """(line, its step or None) of a record file, without a last line that a killed writer left broken."""
        path = self.path / name
        if not path.exists():
            return []
        records = []
        # By "\n" alone: what a model says may hold the other line ends of Unicode (U+0085, U+2028).
        for line in path.read_bytes().split(b"\n"):
            try:
                records.append((line.decode(), json.loads(line).get("step")))
            except ValueError:  # no JSON, or half a character
                continue
        return records

    def truncate_records(self, step: int) -> None:
        """After a resume at `step`: drop the records of later steps, which will be made again."""
        for name in STEPPED:
            if (self.path / name).exists():
                kept = [line for line, at in self._records(name) if at is None or at <= step]
                write_atomic(self.path / name, "".join(line + "\n" for line in kept))
            self._last_step.pop(name, None)

    def event(self, name: str, **fields: Any) -> None:
        """Record an event of the run and print it; a field `message` is the line that people read."""
        self._log.write(self.stage, name, **fields)

    def progress(self, total: float | None, label: str, unit: str = "") -> AbstractContextManager[Progress]:
        """Show progress; `advance` raises Interrupted after a signal, unless the stage polls for it."""
        return progress(total, f"{self.stage}: {label}", unit, check=self._stop_between_advances)

    def stop_requested(self) -> int | None:
        """The number of the signal that asked to stop, or None.

        A stage that asks saves a checkpoint and raises Interrupted itself; `progress` leaves that to it.
        """
        self._saves_on_stop = True
        return self._stop_signal()

    def _stop_between_advances(self) -> None:
        number = self._stop_signal()
        if number is not None and not self._saves_on_stop:
            raise Interrupted(number)
