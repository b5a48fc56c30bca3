"""Stages that are killed, stopped by a signal, begun anew or continued."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.errors import Interrupted, Refused
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.keys import status
from exnihilo.core.stage import Stage

Start = Callable[[Callable[[], None]], int]
Ended = Callable[[int], int]


def train(tmp_path: Path, toys: Any, name: str = "base", resume: str = "auto", **values: Any) -> Artifact:
    config = toys.train.config(corpus="corpus", **values)
    return build(toys.train, config, {"corpus": tmp_path / "corpus"}, tmp_path / name, seed=1, resume=resume)


@pytest.fixture
def killed(tmp_path: Path, toys: Any, start: Start, ended: Ended) -> str:
    """`base` killed with -9 at step 4 of 6; the value is the content of an unbroken run."""
    build(toys.collect, toys.collect.config(), {}, tmp_path / "corpus", seed=1)
    assert ended(start(lambda: train(tmp_path, toys, die_at=4) and None)) == -signal.SIGKILL
    assert not (tmp_path / "base").exists()
    with pytest.raises(Refused, match="base: not finished"):
        Artifact.open(tmp_path / "base")
    return train(tmp_path, toys, name="unbroken").content


def test_a_killed_stage_is_continued_and_gives_what_the_unbroken_run_gives(
    tmp_path: Path, toys: Any, killed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = status(
        toys.train,
        toys.train.config(corpus="corpus"),
        {"corpus": tmp_path / "corpus"},
        tmp_path / "base",
        seed=1,
    )
    assert found.state == "partial"
    built = train(tmp_path, toys)
    assert built.content == killed
    assert "base: continuing after 0 s of work (config unchanged)" in capsys.readouterr().err
    assert [record["step"] for _, record in read_jsonl(built.path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert built.manifest["continued"] == [[]]


def test_a_temporary_file_of_the_killed_session_does_not_get_into_the_artifact(
    tmp_path: Path, toys: Any, killed: str
) -> None:
    (tmp_path / "base.partial" / ".weights.123.tmp").write_text("half")
    built = train(tmp_path, toys)
    assert built.content == killed and set(built.manifest["files"]) == {"weights"}


def test_a_changed_horizon_continues_and_is_on_record(tmp_path: Path, toys: Any, killed: str) -> None:
    built = train(tmp_path, toys, steps=8)
    assert built.manifest["continued"] == [["steps 6 -> 8"]]
    assert built.manifest["lines"] == ["trained 8 steps"]
    assert built.content == train(tmp_path, toys, name="straight", steps=8).content


def test_a_changed_config_begins_anew_says_why_and_keeps_what_was_there(
    tmp_path: Path, toys: Any, killed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built = train(tmp_path, toys, lr=0.5)
    assert (
        "base: beginning anew (these differ: lr 0.02 -> 0.5); what was there is kept in .replaced"
        in capsys.readouterr().err
    )
    assert built.manifest["continued"] == []
    assert (tmp_path / ".replaced" / "base.partial-1" / "checkpoints" / "state").read_text().startswith("3 ")


def test_resume_must_and_never(tmp_path: Path, toys: Any, killed: str) -> None:
    with pytest.raises(Refused, match=r"cannot continue, these differ: lr 0\.02 -> 0\.5"):
        train(tmp_path, toys, resume="must", lr=0.5)
    with pytest.raises(Refused, match="nothing to continue"):
        train(tmp_path, toys, name="fresh", resume="must")
    assert (tmp_path / "base.partial" / "checkpoints" / "state").read_text().startswith("3 ")
    assert train(tmp_path, toys, resume="must").content == killed
    train(tmp_path, toys, resume="never", lr=0.5)


def test_without_a_checkpoint_a_killed_stage_begins_with_an_empty_folder(
    tmp_path: Path, toys: Any, start: Start, ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    def half(config: Any, inputs: Any, work: Any) -> None:
        assert not (work.path / "left-over").exists()
        (work.path / "left-over").write_text("half")
        work.metric(step=1, loss=1.0)
        if os.environ.get("DIE"):
            os.kill(os.getpid(), signal.SIGKILL)

    stage = Stage("collect", "corpus", toys.collect.config, half, "")
    once = lambda: build(stage, stage.config(), {}, tmp_path / "corpus", seed=1)  # noqa: E731
    os.environ["DIE"] = "1"
    try:
        assert ended(start(lambda: once() and None)) == -signal.SIGKILL
    finally:
        del os.environ["DIE"]
    built = once()
    assert "beginning again: the session before left no checkpoint" in capsys.readouterr().err
    assert len((built.path / "metrics.jsonl").read_text().splitlines()) == 1


def wait_for(path: Path) -> None:
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")


def test_core_12_two_processes_cannot_work_in_one_place(tmp_path: Path, toys: Any, start: Start) -> None:
    def slow(config: Any, inputs: Any, work: Any) -> None:
        (work.path / "busy").write_text("x")
        time.sleep(60)

    stage = Stage("collect", "corpus", toys.collect.config, slow, "")
    pid = start(lambda: build(stage, stage.config(), {}, tmp_path / "corpus", seed=1) and None)
    wait_for(tmp_path / "corpus.partial" / "busy")
    with pytest.raises(Refused, match=rf"another exnihilo \(pid {pid}\) is working in .*corpus; wait for it"):
        build(toys.collect, toys.collect.config(), {}, tmp_path / "corpus", seed=1)
    build(toys.collect, toys.collect.config(), {}, tmp_path / "other", seed=1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    build(toys.collect, toys.collect.config(), {}, tmp_path / "corpus", seed=1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_one_signal_stops_a_stage_without_checkpoints_at_its_next_advance(
    tmp_path: Path, toys: Any, start: Start, ended: Ended, number: int, code: int
) -> None:
    def endless(config: Any, inputs: Any, work: Any) -> None:
        (work.path / "busy").write_text("x")
        with work.progress(None, "waiting") as progress:
            while True:
                time.sleep(0.01)
                progress.advance()

    stage = Stage("collect", "corpus", toys.collect.config, endless, "")
    pid = start(lambda: build(stage, stage.config(), {}, tmp_path / "corpus", seed=1) and None)
    wait_for(tmp_path / "corpus.partial" / "busy")
    os.kill(pid, number)
    assert ended(pid) == code
    assert not (tmp_path / "corpus").exists()


def test_a_stage_that_asks_saves_its_checkpoint_and_stops_itself(
    tmp_path: Path, toys: Any, start: Start, ended: Ended
) -> None:
    def saves(config: Any, inputs: Any, work: Any) -> None:
        (work.path / "busy").write_text("x")
        with work.progress(None, "training") as progress:
            while (number := work.stop_requested()) is None:
                time.sleep(0.01)
                progress.advance()
            progress.advance()
        (work.checkpoints / "saved").write_text("x")
        raise Interrupted(number)

    stage = Stage("collect", "corpus", toys.collect.config, saves, "")
    pid = start(lambda: build(stage, stage.config(), {}, tmp_path / "corpus", seed=1) and None)
    wait_for(tmp_path / "corpus.partial" / "busy")
    time.sleep(0.05)
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 143
    assert (tmp_path / "corpus.partial" / "checkpoints" / "saved").exists()


def test_a_second_signal_ends_the_process_at_once(
    tmp_path: Path, toys: Any, start: Start, ended: Ended
) -> None:
    def deaf(config: Any, inputs: Any, work: Any) -> None:
        (work.path / "busy").write_text("x")
        stop = time.monotonic() + 120
        while time.monotonic() < stop:
            time.sleep(0.01)
            if work.stop_requested():
                (work.path / "heard").write_text("and not heeded")

    stage = Stage("collect", "corpus", toys.collect.config, deaf, "")
    pid = start(lambda: build(stage, stage.config(), {}, tmp_path / "corpus", seed=1) and None)
    wait_for(tmp_path / "corpus.partial" / "busy")
    os.kill(pid, signal.SIGTERM)
    wait_for(tmp_path / "corpus.partial" / "heard")
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGTERM)
    began = time.monotonic()
    assert ended(pid) == 143
    assert time.monotonic() - began < 60


def test_a_stage_that_ends_after_a_signal_is_published_before_the_run_stops(
    tmp_path: Path, toys: Any
) -> None:
    def signalled(config: Any, inputs: Any, work: Any) -> None:
        (work.path / "whole").write_text("x")
        os.kill(os.getpid(), signal.SIGTERM)

    stage = Stage("collect", "corpus", toys.collect.config, signalled, "")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        build(stage, stage.config(), {}, tmp_path / "corpus", seed=1)
    assert caught.value.exit_code == 143
    assert (Artifact.open(tmp_path / "corpus", verify=True).path / "whole").exists()
    assert signal.getsignal(signal.SIGTERM) == before
