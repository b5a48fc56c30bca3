"""What a full disk, a read-only folder or a lack of memory leaves of a stage, and what is told."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import Config
from exnihilo.core.disk import disk_errors_told
from exnihilo.core.errors import Diverged, ExnihiloError, OutOfMemory, Refused
from exnihilo.core.events import EventLog, append_line
from exnihilo.core.lock import hold
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.recipes.log import keep_traceback


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    return filler


class Empty(Config):
    pass


def stage_that(run: Any) -> Stage:
    return Stage("toy", "corpus", Empty, run, "does what a test says")


def test_core_14_a_line_is_appended_whole_or_not_at_all(tiny_disk: Path) -> None:
    """With space for a part of it only, the file stays as it was."""
    path = tiny_disk / "events.jsonl"
    append_line(path, "first")
    fill(tiny_disk)
    with pytest.raises(OSError) as error:
        append_line(path, "x" * 10_000)
    assert error.value.errno == errno.ENOSPC
    assert path.read_text() == "first\n"
    (tiny_disk / "filler").unlink()
    append_line(path, "second")
    assert path.read_text() == "first\nsecond\n"


def test_core_12_the_lock_of_a_full_disk_says_so(tiny_disk: Path) -> None:
    filler = fill(tiny_disk)
    with (
        pytest.raises(ExnihiloError, match="no space left; free some") as error,
        hold(tiny_disk / ".lock", tiny_disk),
    ):
        raise AssertionError("held")
    assert error.value.exit_code == 1
    filler.unlink()
    with hold(tiny_disk / ".lock", tiny_disk):
        assert (tiny_disk / ".lock").read_text() == str(os.getpid())


def test_core_12_a_full_disk_hides_no_other_failure(tiny_disk: Path) -> None:
    """What a stage raised is told, though neither its seconds nor its traceback can be written any more."""

    def diverge(config: Empty, inputs: Inputs, work: Workspace) -> None:
        fill(tiny_disk)
        raise Diverged("step 7: not finite")

    with pytest.raises(Diverged, match="step 7"), keep_traceback(tiny_disk):
        build(stage_that(diverge), Empty(), {}, tiny_disk / "corpus", seed=1)


@pytest.mark.parametrize("where", ["event", "metric", "file", "late"])
def test_core_12_wherever_space_runs_out_the_same_stage_goes_on_when_there_is_some(
    tiny_disk: Path, where: str
) -> None:
    full = True

    def write(config: Empty, inputs: Inputs, work: Workspace) -> None:
        (work.path / "data.txt").write_text("abc" * 100)
        if full:
            fill(tiny_disk)
        for number in range(200 if full else 2):
            if where == "event":
                work.event("toy", number=number, text="x" * 100)
            elif where == "metric":
                work.metric(step=number, loss=1.0, text="x" * 100)
            elif where == "file" and full:
                (work.path / f"{number}.txt").write_text("abc" * 5000)

    stage = stage_that(write)
    with pytest.raises(ExnihiloError, match=r"no space left|No space left") as error:
        build(stage, Empty(), {}, tiny_disk / "corpus", seed=1)
    assert error.value.exit_code == 1 and "\n" not in str(error.value)
    assert not (tiny_disk / "corpus").exists()
    (tiny_disk / "filler").unlink()
    full = False
    made = build(stage, Empty(), {}, tiny_disk / "corpus", seed=1)
    assert Artifact.open(made.path, verify=True).content == made.content
    assert sorted(made.manifest["files"]) == ["data.txt"]


def test_a_read_only_disk_is_refused_in_one_line(tiny_disk: Path) -> None:
    def write(config: Empty, inputs: Inputs, work: Workspace) -> None:
        (work.path / "a").write_text("a")

    made = build(stage_that(write), Empty(), {}, tiny_disk / "one", seed=1)
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(
        Refused, match=r"tiny: cannot write there \(Read-only file system\); choose another folder"
    ):
        build(stage_that(write), Empty(), {}, tiny_disk / "two", seed=1)
    assert Artifact.open(tiny_disk / "one", verify=True).content == made.content


def test_a_disk_that_becomes_read_only_is_told_with_the_file(tiny_disk: Path) -> None:
    with (
        pytest.raises(ExnihiloError, match=r"tiny/a: Read-only file system; change its permissions"),
        disk_errors_told(tiny_disk),
    ):
        subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
        (tiny_disk / "a").write_text("a")


def test_other_errors_of_the_system_pass() -> None:
    with pytest.raises(FileNotFoundError), disk_errors_told(Path("x")):
        Path("no such file").read_text()


def test_train_6_a_checkpoint_that_a_kill_left_half_written_is_swept_away(tmp_path: Path) -> None:
    """Beside a whole one, so that the stage continues: a folder with a file that was being written in it."""

    def save(config: Empty, inputs: Inputs, work: Workspace) -> None:
        (work.checkpoints / "step-1").mkdir(exist_ok=True)
        left = work.checkpoints / ".step-2.123.tmp"
        if not left.exists() and first:
            left.mkdir()
            (left / ".state.json.123.tmp").write_text("{")
            raise ExnihiloError("killed here")
        assert not left.exists()
        (work.path / "a").write_text("a")

    first = True
    with pytest.raises(ExnihiloError, match="killed here"):
        build(stage_that(save), Empty(), {}, tmp_path / "corpus", seed=1)
    first = False
    assert build(stage_that(save), Empty(), {}, tmp_path / "corpus", seed=1).path.is_dir()


def test_out_of_memory_in_any_stage_has_its_own_code(tmp_path: Path) -> None:
    def greedy(config: Empty, inputs: Inputs, work: Workspace) -> None:
        bytearray(1 << 46)

    with pytest.raises(OutOfMemory, match="corpus: out of memory; give it fewer rows at a time") as error:
        build(stage_that(greedy), Empty(), {}, tmp_path / "corpus", seed=1)
    assert error.value.exit_code == 4
    assert (tmp_path / "corpus.partial").is_dir()


def test_an_event_log_without_a_folder_needs_no_disk(capsys: pytest.CaptureFixture[str]) -> None:
    EventLog(None).write("toy", "event", message="said")
    assert capsys.readouterr().err == "toy: said\n"
