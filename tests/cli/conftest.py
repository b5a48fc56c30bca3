"""The command line in this process, and in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exnihilo.cli.main import main
from exnihilo.recipes import stages

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, whose name has a space and a letter outside ASCII."""
    folder = tmp_path / "mes essais é"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return folder


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy stages of tests/recipes are verbs."""
    file = Path(__file__).parents[1] / "recipes" / "toys.py"
    spec = importlib.util.spec_from_file_location("toys", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "toys", module)
    spec.loader.exec_module(module)
    for verb, stage in module.TOYS.items():
        monkeypatch.setitem(stages.VERBS, verb, lambda stage=stage: stage)


@pytest.fixture
def call(here: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """`exnihilo ARGS` in this process: (exit code, stdout, stderr)."""

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(one) for one in args])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def python(here: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`python ARGS` in a process of its own with a bare environment, `env` added."""

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        bare = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **env}
        return subprocess.run(
            [sys.executable, *args],
            capture_output=True,
            text=True,
            env=bare,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run
