"""A stage: an importable function from a config and input folders to one artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exnihilo.core.config import Config
from exnihilo.core.workspace import Workspace

Inputs = dict[str, Path | dict[str, Path]]
"""By reference field: the input's path or, for a list field, paths by name in the order given.
An optional reference that was not given is absent."""


@dataclass(frozen=True)
class Stage:
    """What a verb does: `run(config, inputs, work)` writes one artifact of `kind` into `work.path`.

    `external(config)`, where given, names the state outside of any artifact that the result depends on (such
    as the hash of the files to collect); it enters the stage's key, so that a change there makes the stage
    stale.
    """

    verb: str
    kind: str
    config: type[Config]
    # Any: each stage takes its own Config subclass, which a Callable over Config could not express.
    run: Callable[[Any, Inputs, Workspace], None]
    doc: str
    external: Callable[[Any], str] | None = None
