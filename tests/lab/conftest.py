"""Lets the tests import `tiny_comparison`, and runs one comparison for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exnihilo.lab.compare import compare
from exnihilo.lab.question import Question

sys.path.insert(0, str(Path(__file__).parent))

from tiny_comparison import question, write_recipe


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, whose name has a space and a letter outside ASCII; one thread, no syncs."""
    import torch

    folder = tmp_path / "mes essais é"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, Path, dict[str, Any]]:
    """Muon against AdamW with two seeds: (the question, the folder, what compare.json holds)."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        asked = question(write_recipe(folder), "base.optimizer.name=muon,adamw", seeds=2)
        found = compare(asked, folder / "lab")
    return asked, folder / "lab", found
