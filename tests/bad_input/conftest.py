"""Lets the tests import the cases, and makes the good world once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """One thread, and no waiting for the disk: power cuts are the subject of core's tests."""
    import torch

    threads, fsync = torch.get_num_threads(), os.fsync
    torch.set_num_threads(1)
    os.fsync = lambda descriptor: None
    yield
    os.fsync = fsync
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good world; nobody writes into it."""
    import good_world

    folder = tmp_path_factory.mktemp("world")
    before = Path.cwd()
    os.chdir(folder)
    try:
        good_world.build(folder)
    finally:
        os.chdir(before)
    return folder
