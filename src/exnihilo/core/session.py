"""The folder of a stage under way: continued, begun again, or begun."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exnihilo.core.artifact import PARTIAL
from exnihilo.core.config import Config, result_config
from exnihilo.core.errors import Refused
from exnihilo.core.events import EventLog
from exnihilo.core.files import sweep, write_json
from exnihilo.core.keys import differences, key_of

RECORD = "partial.json"
REPLACED = ".replaced"


def partial_of(out: Path) -> Path:
    """The folder in which `out` is made."""
    return out.with_name(out.name + PARTIAL)


class Session:
    """One process's work on a partial folder.

    `earlier` is the seconds that sessions before it took; `continued` says of each time that the work was
    taken up from a checkpoint which keys had changed.
    """

    def __init__(
        self,
        folder: Path,
        parts: Mapping[str, Any],
        earlier: float = 0.0,
        continued: list[list[str]] | None = None,
    ) -> None:
        self.folder, self.parts, self.earlier = folder, parts, earlier
        self.continued = continued or []
        self._start = time.monotonic()
        self._record()

    @property
    def seconds(self) -> float:
        """Seconds of work on this artifact, all sessions together."""
        return self.earlier + time.monotonic() - self._start

    def close(self) -> None:
        """Note the seconds; a killed session's are told from the newest file instead."""
        self._record()

    def _record(self) -> None:
        record = {
            "key": key_of(self.parts),
            "seconds": self.seconds,
            "noted": time.time(),
            "continued": self.continued,
            "ingredients": self.parts,
        }
        write_json(self.folder / RECORD, record)


def open_session(
    out: Path, config: Config, parts: Mapping[str, Any], resume: str, name: str, log: EventLog
) -> Session:
    """Continue `<out>.partial`, or move it aside and begin; one event says which and why.

    Raises Refused with resume="must" where there is nothing to continue, or what is there was begun
    otherwise.
    """
    folder = partial_of(out)
    begun = _begun(folder)
    if begun is None:
        if resume == "must":
            raise Refused(f"{out}: nothing to continue; run it without --resume must")
        if folder.exists():
            set_aside(folder)
        return _begin(folder, parts)
    changed = differences(begun["ingredients"], parts)
    hard = differences(_without_horizon(begun["ingredients"], config), _without_horizon(parts, config))
    if resume == "never" or hard:
        if resume == "must":
            raise Refused(
                f"{out}: cannot continue, these differ: {'; '.join(hard)}; undo them, or --resume auto"
            )
        why = f"these differ: {'; '.join(hard)}" if hard else "asked not to continue"
        log.write(name, "restarted", message=f"beginning anew ({why}); what was there is kept in {REPLACED}")
        set_aside(folder)
        return _begin(folder, parts)
    earlier = _seconds(folder, begun)
    if not _has_checkpoint(folder):
        if resume == "must":
            raise Refused(
                f"{out}: nothing to continue: no checkpoint was saved; run it without --resume must"
            )
        log.write(name, "restarted", message="beginning again: the session before left no checkpoint")
        _empty(folder)
        return Session(folder, parts, earlier)
    sweep(folder)
    note = f"changed: {'; '.join(changed)}" if changed else "config unchanged"
    log.write(name, "continued", message=f"continuing after {earlier:.0f} s of work ({note})")
    return Session(folder, parts, earlier, [*begun["continued"], changed])


def _begin(folder: Path, parts: Mapping[str, Any]) -> Session:
    folder.mkdir(parents=True)
    return Session(folder, parts)


def _begun(folder: Path) -> dict[str, Any] | None:
    """The record of a partial folder; None where there is none to trust (killed before it was whole)."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return record if isinstance(record, dict) and "ingredients" in record else None


def _without_horizon(parts: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The ingredients without the config keys that only say how long to go on."""
    lasting = result_config(config, horizon=False)
    return {**parts, "config": _common(parts["config"], result_config(config), lasting)}


def _common(values: Any, whole: Any, lasting: Any) -> Any:
    if not (isinstance(values, Mapping) and isinstance(whole, Mapping) and isinstance(lasting, Mapping)):
        return values
    dropped = whole.keys() - lasting.keys()
    return {
        key: _common(value, whole.get(key), lasting.get(key))
        for key, value in values.items()
        if key not in dropped
    }


def _has_checkpoint(folder: Path) -> bool:
    checkpoints = folder / "checkpoints"
    return checkpoints.is_dir() and any(checkpoints.iterdir())


def _seconds(folder: Path, begun: Mapping[str, Any]) -> float:
    newest = max(path.stat().st_mtime for path in folder.rglob("*"))
    return float(begun["seconds"]) + max(0.0, newest - float(begun["noted"]))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == RECORD:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def set_aside(folder: Path) -> Path:
    """Move a folder to `.replaced/<name>-<n>` beside it and return where it went."""
    place = folder.parent / REPLACED
    place.mkdir(exist_ok=True)
    number = 1
    while (place / f"{folder.name}-{number}").exists():
        number += 1
    return folder.rename(place / f"{folder.name}-{number}")
