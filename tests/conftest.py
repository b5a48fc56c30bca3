"""What tests of every room share."""

from __future__ import annotations

from pathlib import Path

import pytest

from exnihilo.core.events import EventLog
from exnihilo.core.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A stage's working folder, as `build` gives it: `<run>/stage.partial`, its events in `<run>`."""
    run = tmp_path / "run"
    return Workspace(run / "stage.partial", seed=1, stage="stage", log=EventLog(run))
