"""Where an artifact comes from: the code's commit, and the sources of its data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.provenance import largest, portable

SOURCE = Path(__file__).parents[2] / "src" / "exnihilo"


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *names, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def code_of(root: Path) -> Any:
    source = "import json; from exnihilo.core.provenance import code; print(json.dumps(code()))"
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env=environment, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_this_packages_own_and_not_that_of_a_project_around_it(tmp_path: Path) -> None:
    package = tmp_path / "exnihilo"
    (package / "core").mkdir(parents=True)
    for path in [SOURCE / "__init__.py", *(SOURCE / "core").glob("*.py")]:
        shutil.copy(path, package / path.relative_to(SOURCE))
    (tmp_path / "theirs").write_text("x")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "theirs")
    git(tmp_path, "commit", "-qm", "theirs")
    assert code_of(tmp_path)["commit"] is None
    git(tmp_path, "add", "exnihilo")
    git(tmp_path, "commit", "-qm", "ours")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert code_of(tmp_path) == {"version": "0.1.0", "commit": head, "dirty": False}
    (package / "core" / "seeds.py").open("a").write("# changed\n")
    assert code_of(tmp_path)["dirty"] is True


def test_inherited_provenance_has_one_entry_for_each_source() -> None:
    one = {"source": "a", "licence": "MIT", "generator": "", "amount": 5, "unit": "bytes"}
    entries = [one, {**one, "amount": 9}, {**one, "unit": "tokens"}, {**one, "licence": "CC0-1.0"}]
    assert largest(entries) == [
        {**one, "amount": 9},
        {**one, "unit": "tokens"},
        {**one, "licence": "CC0-1.0"},
    ]


def test_only_absolute_paths_that_exist_are_made_relative(tmp_path: Path) -> None:
    out = tmp_path / "run" / "base"
    (tmp_path / "x").mkdir()
    values = {"a": [str(tmp_path / "x")], "b": {"c": "/no/such/place"}, "d": "./x", "e": 1, "f": "/"}
    assert portable(values, out) == {
        "a": ["../../x"],
        "b": {"c": "/no/such/place"},
        "d": "./x",
        "e": 1,
        "f": "/",
    }
