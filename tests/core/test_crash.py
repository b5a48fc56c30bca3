"""core-12: whatever happens while an artifact is made and published, the old or the new one is whole."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import MANIFEST, Artifact, content_hash, read_manifest
from exnihilo.core.build import build
from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.core.files import atomic_stream, write_atomic

Start = Callable[[Callable[[], None]], int]
Ended = Callable[[int], int]
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


def kill_at(number: int, folder: Path) -> None:
    """From now on, `kill -9` this process just before its number-th change of the file system in `folder`."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not int(arguments[2]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    sys.addaudithook(hook)


def test_core_12_kill_9_at_every_change_of_the_file_system_leaves_old_or_new_whole(
    tmp_path: Path, toys: Any, start: Start, ended: Ended
) -> None:
    old_config, new_config = toys.collect.config(text="old"), toys.collect.config(text="new")
    before = tmp_path / "before"
    old = build(toys.collect, old_config, {}, before / "corpus", seed=1).content
    new = build(toys.collect, new_config, {}, tmp_path / "new" / "corpus", seed=1).content
    outcomes = []
    for number in range(200):
        run = tmp_path / f"run-{number}"
        shutil.copytree(before, run)

        def make(number: int = number, run: Path = run) -> None:
            kill_at(number, run)
            build(toys.collect, new_config, {}, run / "corpus", seed=1)

        code = ended(start(make))
        assert code in (0, -signal.SIGKILL)
        if (run / "corpus").exists():
            found = Artifact.open(run / "corpus", verify=True).content
            assert found in (old, new)
            outcomes.append("old" if found == old else "new")
        else:
            # Between the two renames: the old one is whole where it was moved to, the new one complete.
            assert Artifact.open(run / ".replaced" / "corpus-1", verify=True).content == old
            assert read_manifest(run / "corpus.partial")["content"] == new
            outcomes.append("between")
        assert build(toys.collect, new_config, {}, run / "corpus", seed=1).content == new
        assert not (run / "corpus.partial").exists()
        assert Artifact.open(run / ".replaced" / "corpus-1", verify=True).content == old
        if code == 0:
            break
    else:
        raise AssertionError("the build never came to its end")
    assert outcomes.count("old") > 10 and outcomes.count("between") == 1 and outcomes[-1] == "new"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system of 64 KiB cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_core_12_a_full_disk_leaves_the_old_artifact_and_says_so(tiny_disk: Path, toys: Any) -> None:
    old = build(toys.collect, toys.collect.config(copies=1), {}, tiny_disk / "corpus", seed=1)
    with pytest.raises(ExnihiloError, match=r"corpus: no space left|cannot write \(No space left"):
        build(toys.collect, toys.collect.config(copies=100), {}, tiny_disk / "corpus", seed=1)
    assert Artifact.open(tiny_disk / "corpus", verify=True).content == old.content
    with pytest.raises(Refused):
        Artifact.open(tiny_disk / "corpus.partial")


def test_core_12_a_file_that_cannot_be_written_whole_leaves_the_old_one(
    tmp_path: Path, start: Start, ended: Ended
) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(ExnihiloError, match=r"a\.json: cannot write \(File too large\)"):
            write_atomic(path, "new" * 1000)

    assert ended(start(write)) == 0
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_core_12_a_stage_over_a_file_size_limit_fails_in_one_line(
    tmp_path: Path, toys: Any, start: Start, ended: Ended
) -> None:
    old = build(toys.collect, toys.collect.config(text="a"), {}, tmp_path / "corpus", seed=1)

    def make() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        build(toys.collect, toys.collect.config(text="abcdefgh"), {}, tmp_path / "corpus", seed=1)

    assert ended(start(make)) == ExnihiloError.exit_code
    assert Artifact.open(tmp_path / "corpus", verify=True).content == old.content


def test_core_12_an_exception_in_mid_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_stream(path) as stream:
        stream.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "train" / "0.txt").write_text("x" * 3000), "altered since it was made"),
        (
            lambda folder: (folder / "train" / "0.txt").write_text("x"),
            "altered since it was made (1 bytes, not 3000)",
        ),
        (lambda folder: (folder / "train" / "0.txt").unlink(), "missing from its artifact"),
        (lambda folder: (folder / "more").write_text("x"), "not part of its artifact"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "broken"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "not a manifest of exnihilo"),
        (lambda folder: (folder / MANIFEST).unlink(), "not an artifact (it has no manifest.json)"),
    ],
)
def test_an_altered_artifact_is_refused(
    tmp_path: Path, toys: Any, damage: Callable[[Path], Any], said: str
) -> None:
    folder = build(toys.collect, toys.collect.config(), {}, tmp_path / "corpus", seed=1).path
    damage(folder)
    with pytest.raises(Refused) as caught:
        Artifact.open(folder, verify=True)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_content_does_not_depend_on_records_times_or_place(tmp_path: Path, toys: Any) -> None:
    one = build(toys.collect, toys.collect.config(), {}, tmp_path / "a" / "corpus", seed=1)
    (one.path / "README.md").write_text("a card written later")
    shutil.copytree(one.path, tmp_path / "b")
    os.utime(tmp_path / "b" / "train" / "0.txt", (0, 0))
    assert content_hash(tmp_path / "b") == one.content == Artifact.open(tmp_path / "b", verify=True).content
    (tmp_path / "b" / "train" / "0.txt").rename(tmp_path / "b" / "train" / "00.txt")
    assert content_hash(tmp_path / "b") != one.content
