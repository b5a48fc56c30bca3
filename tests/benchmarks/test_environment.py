"""Peers' environments: made once from a pinned list, made again when the list changes or making was cut short."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from benchmarks.environment import cache_folder, peer_python
from exnihilo.core.errors import ConfigError, ExnihiloError


def wheel(folder: Path, version: str) -> Path:
    """A package of one line, as pip installs it without an index."""
    path = folder / f"toy_peer-{version}-py3-none-any.whl"
    about = f"toy_peer-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_peer.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: toy-peer\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def version_in(python: Path) -> str:
    code = "import sys, toy_peer; print(toy_peer.VERSION, sys.prefix)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    version, prefix = done.stdout.split()
    assert Path(prefix) == python.parents[1]
    return version


def test_an_environment_is_made_from_its_list_once_and_again_when_the_list_changes(tmp_path: Path) -> None:
    lists, cache = tmp_path / "peers", tmp_path / "cache"
    lists.mkdir()
    pinned = lists / "toy.txt"
    pinned.write_text(f"--no-index\n{wheel(tmp_path, '1.0')}\n")
    python = peer_python("toy", lists=lists, cache=cache)
    assert version_in(python) == "1.0"
    assert (cache / ".gitignore").read_text() == "*\n"

    made = python.parents[1].stat().st_ino
    assert peer_python("toy", lists=lists, cache=cache) == python
    assert python.parents[1].stat().st_ino == made, "an environment of the same list was made again"

    pinned.write_text(f"--no-index\n{wheel(tmp_path, '2.0')}\n")
    assert version_in(peer_python("toy", lists=lists, cache=cache)) == "2.0"


def test_an_environment_that_could_not_be_made_names_the_error_and_the_log_and_counts_as_none(
    tmp_path: Path,
) -> None:
    lists, cache = tmp_path / "peers", tmp_path / "cache"
    lists.mkdir()
    (lists / "toy.txt").write_text("--no-index\n./nowhere-1.0-py3-none-any.whl\n")
    for _ in range(2):  # a half-made one is not taken for whole the second time
        with pytest.raises(
            ExnihiloError, match=r"python -m pip … failed: ERROR: .*nowhere-1\.0.*all of it is in .*toy\.log"
        ):
            peer_python("toy", lists=lists, cache=cache)
    assert not (cache / "environments" / "toy" / "list.sha256").exists()


def test_a_peer_without_a_list_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "litgpt.txt").write_text("")
    with pytest.raises(ConfigError, match=r"litgtp\.txt: no such list of packages; there are litgpt$"):
        peer_python("litgtp", lists=tmp_path, cache=tmp_path / "cache")


def test_shipped_lists_pin_everything() -> None:
    lists = sorted((Path(__file__).parents[2] / "benchmarks" / "peers").glob("*.txt"))
    assert {"transformers", "litgpt"} <= {path.stem for path in lists}
    for path in lists:
        wanted = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert wanted and all("==" in line for line in wanted), path.name


def test_git_ignores_the_cache(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (cache_folder(tmp_path / "benchmarks" / ".cache") / "big").write_text("x")
    status = subprocess.run(
        [*git, "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True
    )
    assert status.stdout == ""
