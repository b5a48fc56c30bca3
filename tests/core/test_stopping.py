from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from exnihilo.core.stopping import stop_signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_train_6_a_signal_of_the_outer_block_is_told_in_the_inner_one(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signal() as outer:
        with stop_signal() as first:
            assert outer() is None and first() is None
        os.kill(os.getpid(), number)
        with stop_signal() as second:
            assert second() == outer() == number
        assert signal.getsignal(number) is not before  # the inner block has left the outer one's handler
    assert signal.getsignal(number) is before
    with stop_signal() as new:
        assert new() is None


def test_blocks_of_other_threads_catch_nothing_and_disturb_nothing() -> None:
    told: list[int | None] = []

    def look() -> None:
        with stop_signal() as stopped:
            told.append(stopped())

    with stop_signal() as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert told == [None] and stopped() == signal.SIGTERM


SCRIPT = """
import os, signal, sys, time
from exnihilo.core.stopping import stop_signal
with stop_signal() as stopped:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_train_6_a_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline() == "stopping at the next safe point; once more to stop at once\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(10) == 128 + number
