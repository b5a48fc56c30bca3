"""Recipes of toy stages: in this process, and as commands in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from exnihilo.recipes import stages
from exnihilo.recipes.load import load
from exnihilo.recipes.run import run

TOYS = Path(__file__).with_name("toys.py")
RECIPE = """\
seed: 3
description: toys
stages:
  scores: {do: score, models: [base, more]}
  text: {do: gather, text: out of nothing}
  pieces: {do: cut, corpus: text}
  base: {do: grow, tokens: pieces, steps: 3, optim: {lr: 1e-3, name: "1e-3"}}
  more: {do: grow, tokens: pieces, parent: base}
"""
Command = Callable[..., "subprocess.Popen[str]"]


def _toys() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toys", TOYS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered so that the annotations of its functions can be resolved.
    sys.modules["toys"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, whose name has a space and a letter outside ASCII; the toys are verbs."""
    folder = tmp_path / "mes essais é"
    folder.mkdir()
    monkeypatch.chdir(folder)
    # Power cuts are the subject of core's tests; a hundred syncs a run cost seconds on a busy disk.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for verb, stage in _toys().TOYS.items():
        monkeypatch.setitem(stages.VERBS, verb, lambda stage=stage: stage)
    return folder


@pytest.fixture
def recipe(here: Path) -> Path:
    """The recipe `toys.yaml`: text -> pieces -> base -> more, and scores of both models."""
    file = here / "toys.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `toys.yaml` to its end, to copy from."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "toys.yaml").write_text(RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for verb, stage in _toys().TOYS.items():
            patch.setitem(stages.VERBS, verb, lambda stage=stage: stage)
        run(load(folder / "toys.yaml"), folder / "r")
    return folder / "r"


@pytest.fixture
def made(finished: Path, recipe: Path, here: Path) -> Path:
    """The folder `r`, in which the recipe has run."""
    return Path(shutil.copytree(finished, here / "r"))


@pytest.fixture
def command() -> Command:
    """Start `exnihilo ARGS` with the toys in a process of its own; `env` adds to a bare environment."""

    def start(*args: str, **env: str) -> subprocess.Popen[str]:
        bare = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **env}
        return subprocess.Popen(
            [sys.executable, str(TOYS), *args],
            stdout=-1,
            stderr=-1,
            stdin=subprocess.DEVNULL,
            text=True,
            env=bare,
        )

    return start
