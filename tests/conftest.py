"""What tests of every room share; lets them import `random_decoder`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.events import EventLog
from exnihilo.core.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A stage's working folder, as `build` gives it: `<run>/stage.partial`, its events in `<run>`."""
    run = tmp_path / "run"
    return Workspace(run / "stage.partial", seed=1, stage="stage", log=EventLog(run))


@pytest.fixture
def serve() -> Iterator[Any]:
    """`serve(reply)` is an endpoint that answers with `reply(question, how often it was asked)`."""
    from endpoint_server import servers

    with servers() as begin:
        yield begin
