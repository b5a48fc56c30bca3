"""Systems in real processes: one at a time, standing still in between, and gone when we are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.processes import ROOT, System, Worker, WorkerFailed, paired_rounds, running, threads, together

FAKE = "tests.benchmarks.fake_system"


@pytest.fixture
def worker() -> Iterator[Worker]:
    with running([System("a sleeper", FAKE)]) as workers:
        yield workers[0]


def state(process: int) -> str:
    """R, S, T (stopped) …; "" once it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def comes_true(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_rounds_are_interleaved_and_each_begins_with_the_next_system() -> None:
    with running([System(name, FAKE) for name in "ab"]) as workers:
        results = paired_rounds(workers, "measure", 3, duration=0.01)
    spans = sorted((one["began"], one["ended"], name) for name, found in results.items() for one in found)
    assert "".join(name for _, _, name in spans) == "ab" + "ba" + "ab"
    assert all(before[1] <= after[0] for before, after in pairwise(spans)), "two ran at the same time"


def test_rounds_end_with_the_time_but_there_are_three(worker: Worker) -> None:
    assert len(paired_rounds([worker], "measure", 50, seconds=0.0, duration=0.0)["a sleeper"]) == 3


def test_together_means_at_the_same_time_each_with_its_settings() -> None:
    with running([System("quick", FAKE), System("slow", FAKE, settings={"slow": True})]) as workers:
        found = together(workers, "prepare")
        assert [found[name]["slow"] for name in ("quick", "slow")] == [False, True]
        assert {one["threads"] for one in found.values()} == {str(threads())}
        assert found["quick"]["process"] != found["slow"]["process"]


def test_a_system_that_was_asked_nothing_stands_still(worker: Worker) -> None:
    process = worker.call("prepare")["process"]
    assert comes_true(lambda: state(process) == "T", 5.0)
    assert worker.call("measure", duration=0.0)["seconds"] >= 0.0
    assert comes_true(lambda: state(process) == "T", 5.0)


def test_what_a_library_prints_is_no_answer(worker: Worker) -> None:
    assert worker.call("talk") == "said"
    assert "a line that is no answer" in worker.log.read_text()


def test_an_error_of_a_system_names_it_and_the_system_goes_on(worker: Worker) -> None:
    with pytest.raises(
        WorkerFailed, match=r"a sleeper: ValueError: nothing to measure here; the traceback is in"
    ):
        worker.call("fail")
    assert "in fail" in worker.log.read_text()
    assert worker.call("talk") == "said"


def test_a_system_that_ends_is_reported_with_its_code_and_last_words(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match="a sleeper: ended with code 7: out of memory, says the kernel"):
        worker.call("leave")
    with pytest.raises(WorkerFailed, match="ended before prepare"):
        worker.call("prepare")


def test_an_answer_is_not_waited_for_for_ever() -> None:
    impatient = Worker(System("slow", FAKE), patience=0.3)
    try:
        with pytest.raises(WorkerFailed, match=r"slow: no answer in 0.3 s; look into"):
            impatient.call("measure", duration=60.0)
    finally:
        process = impatient.process.pid
        impatient.close(wait=0.2)
    assert state(process) == ""


def test_systems_end_even_when_we_are_killed() -> None:
    source = f"""
import time
from benchmarks.processes import System, Worker
worker = Worker(System("left alone", {FAKE!r}))
print(worker.call("prepare")["process"], flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as ours:
        assert ours.stdout is not None
        process = int(ours.stdout.readline())
        assert comes_true(lambda: state(process) == "T", 5.0)
        ours.send_signal(signal.SIGKILL)
    assert comes_true(lambda: state(process) in ("", "Z"))
