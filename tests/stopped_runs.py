"""Runs that are asked to stop on the way."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from exnihilo.core.workspace import Workspace


def workspace_until(path: Path, step: int | None) -> Workspace:
    """A stage's working folder; whoever asks is told to stop once `step` is in its metrics (None: never)."""

    def stop() -> int | None:
        file = path / "metrics.jsonl"
        lines = file.read_text().splitlines() if step is not None and file.is_file() else []
        return signal.SIGTERM if any(json.loads(line)["step"] == step for line in lines) else None

    return Workspace(path, seed=1, stop_signal=stop)
