"""Progress on stderr: a bar on a terminal, a plain line at most every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

PLAIN_SECONDS = 30.0


class Progress(Protocol):
    """What a stage reports to while it works."""

    def advance(self, amount: float = 1) -> None:
        """Count work done. Raises Interrupted after a signal, in a stage that saves no checkpoints."""

    def set(self, **fields: Any) -> None:
        """Show fields beside the bar: loss, tokens per second; floats with four digits."""


@contextmanager
def progress(
    total: float | None, label: str, unit: str = "", *, check: Callable[[], None] = lambda: None
) -> Iterator[Progress]:
    """Show the progress of `total` units (None: unknown); `check` is called at each advance."""
    if sys.stderr.isatty():
        with _bar(total, label, unit, check) as bar:
            yield bar
        return
    lines = PlainProgress(total, label, unit, check)
    try:
        yield lines
    finally:
        lines.print()


class PlainProgress:
    """Lines for a log file: `label 400/1000 steps, 40 %, 12.3 steps/s, 0:49 left, loss 2.31`."""

    def __init__(
        self,
        total: float | None,
        label: str,
        unit: str,
        check: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = 0.0
        self.fields: dict[str, Any] = {}
        self._check, self._clock = check, clock
        self._start = self._last = clock()

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        if self._clock() - self._last >= PLAIN_SECONDS:
            self.print()
        self._check()

    def set(self, **fields: Any) -> None:
        self.fields.update(fields)

    def line(self) -> str:
        """The line as it stands now."""
        unit = f" {self.unit}" if self.unit else ""
        counted = short(self.done) if self.total is None else f"{short(self.done)}/{short(self.total)}"
        parts = [f"{self.label} {counted}{unit}"]
        seconds = self._clock() - self._start
        rate = self.done / seconds if seconds > 0 else 0.0
        if self.total:
            parts.append(f"{100 * self.done / self.total:.0f} %")
        if rate > 0:
            parts.append(f"{short(rate)}{unit or ' '}/s")
            if self.total and self.done < self.total:
                parts.append(f"{clock_time((self.total - self.done) / rate)} left")
        return ", ".join([*parts, *(f"{key} {show_field(value)}" for key, value in self.fields.items())])

    def print(self) -> None:
        """Print the line now."""
        self._last = self._clock()
        print(self.line(), file=sys.stderr, flush=True)


@contextmanager
def _bar(total: float | None, label: str, unit: str, check: Callable[[], None]) -> Iterator[Progress]:
    # rich takes a tenth of a second to import: only where there is a terminal. It honours NO_COLOR.
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    class Bar:
        def __init__(self, bars: Bars, task: TaskID) -> None:
            self.bars, self.task = bars, task
            self.fields: dict[str, Any] = {}
            self.done = 0.0

        def advance(self, amount: float = 1) -> None:
            self.done += amount
            count = short(self.done) if total is None else f"{short(self.done)}/{short(total)}"
            self.bars.update(self.task, completed=self.done, count=f"{count} {unit}".strip())
            check()

        def set(self, **fields: Any) -> None:
            self.fields.update(fields)
            shown = "  ".join(f"{key} {show_field(value)}" for key, value in self.fields.items())
            self.bars.update(self.task, fields=shown)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[fields]}", markup=False),
    )
    # redirect_stdout=False: data on stdout must stay on stdout.
    with Bars(*columns, console=Console(stderr=True), redirect_stdout=False) as bars:
        yield Bar(bars, bars.add_task(label, total=total, count="", fields=""))


def show_field(value: Any) -> str:
    """A field's value for people: floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short(number: float) -> str:
    """1234567 as 1.23M, 4.1e15 as 4.1P; whole numbers below ten thousand as they are."""
    for scale, suffix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # From 999.5 of a unit on, three digits round to a thousand of it: to one of the next.
        if abs(number) >= (10 if suffix == "k" else 0.9995) * scale:
            return f"{number / scale:.3g}{suffix}"
    whole = float(number).is_integer() or abs(number) >= 999.5
    return str(round(number)) if whole else f"{number:.3g}"


def clock_time(seconds: float) -> str:
    """Seconds as 0:49 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
