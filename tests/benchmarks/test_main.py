"""The command: a table, then one last line of JSON, and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import pytest

from benchmarks import __main__ as command
from benchmarks.harness import OURS, Case, Check, Outcome
from benchmarks.processes import ROOT, System, WorkerFailed, paired_rounds, running

FAKE = "tests.benchmarks.fake_system"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A benchmark of two real processes, of which the peer's is told to take three times as long."""
    module = types.ModuleType("benchmarks.toy")

    def run(quick: bool) -> Outcome:
        with running([System(OURS, FAKE), System("peer", FAKE)]) as (ours, peer):
            values = {OURS: paired_rounds([ours], "measure", 3, duration=0.05)[OURS]}
            values["peer"] = paired_rounds([peer], "measure", 3, duration=0.15)["peer"]
        seconds = {name: [one["seconds"] for one in found] for name, found in values.items()}
        return Outcome([Case("sleep", "seconds", seconds, {"peer": 2.0}, False, [Check("work", quick)])])

    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.toy", module)
    monkeypatch.setattr(command, "NAMES", ("toy",))
    return module


def test_the_last_line_is_json_with_ratios_goals_and_where_it_ran(
    toy: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["toy", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found["benchmark"] == "toy" and found["quick"] is True
    assert found["goals"] == {"sleep": {"peer": 2.0}} and found["checks"] == {"sleep": {"work": True}}
    assert 1.5 < found["ratios"]["sleep"]["peer"] < 6.0
    assert found["machine"]["cores"] >= 1 and 0.0 <= found["others"] <= 1.0
    assert found["busy"] is (found["others"] > 0.05) and found["busy"] is ("BUSY" in "\n".join(lines[:-1]))
    assert any(line.split()[:1] == ["peer"] for line in lines)


def test_other_work_is_an_exit_code(toy: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["toy"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["checks"] == {"sleep": {"work": False}}


def test_a_system_that_fails_is_a_line_on_stderr(
    toy: types.ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(quick: bool) -> Outcome:
        raise WorkerFailed("peer: ended with code 7: out of memory")

    monkeypatch.setattr(toy, "run", run)
    assert command.main(["toy"]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "error: peer: ended with code 7: out of memory\n")


def test_a_benchmark_that_there_is_none_of_is_wrong_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "trainig"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2 and "'training'" in done.stderr and done.stdout == ""


def test_the_commit_is_told_and_whether_files_differ_from_it() -> None:
    found = command.commit()
    assert found is None or (len(found.rstrip("+")) == 12 and int(found.rstrip("+"), 16) >= 0)
