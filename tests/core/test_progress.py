"""Progress: lines where there is no terminal, a bar where there is one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from exnihilo.core.progress import PlainProgress, clock_time, progress, short


def test_a_plain_line_at_most_every_half_minute_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    shown = PlainProgress(1000, "base: train", "steps", lambda: None, clock=lambda: now)
    for _ in range(100):
        now += 1.0
        shown.set(loss=2.34567)
        shown.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "base: train 300/1000 steps, 30 %, 10 steps/s, 1:10 left, loss 2.346",
        "base: train 600/1000 steps, 60 %, 10 steps/s, 0:40 left, loss 2.346",
        "base: train 900/1000 steps, 90 %, 10 steps/s, 0:10 left, loss 2.346",
    ]
    shown.print()
    assert capsys.readouterr().err.startswith("base: train 1000/1000 steps, 100 %")


def test_the_last_line_is_printed_also_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress(None, "read", "documents") as shown:
        shown.advance(3)
        raise ZeroDivisionError
    captured = capsys.readouterr()
    assert captured.err.startswith("read 3 documents, ") and captured.err.count("\n") == 1
    assert captured.out == ""


SCRIPT = """
import sys
from exnihilo.core.events import EventLog
from exnihilo.core.progress import progress
with progress(3, "train", "steps") as shown:
    print("data")
    shown.set(loss=2.5)
    shown.advance(3)
    EventLog(None).write("base", "note", message="in between")
"""


def on_a_terminal(**environ: str) -> tuple[str, str]:
    """(stdout, what the terminal got) of the script with its stderr on a terminal."""
    leader, follower = pty.openpty()
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "TERM": "xterm-256color", "COLUMNS": "120", **environ}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=follower, env=environment
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux says so where the last writer has closed
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    assert done.returncode == 0, seen.decode()
    return done.stdout.decode(), seen.decode()


def test_on_a_terminal_there_is_a_bar_and_data_stays_on_stdout() -> None:
    out, seen = on_a_terminal()
    assert out == "data\n"
    assert "━" in seen and "3/3 steps" in seen and "loss 2.5" in seen and "base: in between" in seen
    assert "\x1b[38" in seen or "\x1b[32" in seen or "\x1b[35" in seen


def test_no_color_is_honoured() -> None:
    _, seen = on_a_terminal(NO_COLOR="1")
    assert "3/3 steps" in seen
    assert "\x1b[38" not in seen and "\x1b[32" not in seen and "\x1b[35" not in seen and "\x1b[36" not in seen


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((7, "7"), (9999, "9999"), (12345, "12.3k"), (1234567, "1.23M"), (2.5, "2.5"), (3e9, "3G")),
        # No exponents: rates, what rounds up to the next unit, and FLOPs.
        *((1234.5, "1234"), (999_700, "1M"), (999_700_000, "1G"), (2.1e12, "2.1T"), (4.56e15, "4.56P")),
    ],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text


def test_times_are_minutes_and_hours() -> None:
    assert (clock_time(49), clock_time(61), clock_time(3723)) == ("0:49", "1:01", "1:02:03")
