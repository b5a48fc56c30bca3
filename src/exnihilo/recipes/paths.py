"""Paths in configs: absolute while a run works, relative to the file they are written in on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from exnihilo.core.config import Config, references
from exnihilo.core.schema import closest, field_type, fields, mentions, nested

Change = Callable[[str], str]


def absolute(base: Path) -> Change:
    """A path as written in a file of the folder `base`, made absolute; globs pass, `~` is the home."""
    return lambda text: os.path.normpath(base.absolute() / Path(text).expanduser())


def relative(base: Path) -> Change:
    """An absolute path as it is written in a file of the folder `base`: always `./…` or `../…`."""

    def write(text: str) -> str:
        path = Path(os.path.relpath(text, base.absolute())).as_posix()
        return path if path.startswith("../") or path in (".", "..") else f"./{path}"

    return write


def rewrite(
    schema: type[Config], values: Mapping[str, Any], change: Change, *, names: Collection[str], base: Path
) -> dict[str, Any]:
    """`values` with every path changed: in fields of type Path at any depth, and references that are paths.

    A reference is a path when it names none of the stages `names` and either begins like one (`./`, `../`,
    `/`, `~`) or exists under `base`; what is neither is left for the recipe to report.
    """
    changed = _section(schema, values, change)
    for field in references(schema):
        if field in changed:
            changed[field] = _reference(changed[field], change, names, base)
    return changed


def _reference(value: Any, change: Change, names: Collection[str], base: Path) -> Any:
    if isinstance(value, list):
        return [_reference(one, change, names, base) for one in value]
    return change(value) if isinstance(value, str) and _is_path(value, names, base) else value


def _is_path(reference: str, names: Collection[str], base: Path) -> bool:
    if reference in names or not reference:
        return False
    looks = reference in (".", "..") or reference.startswith(("./", "../", "/", "~"))
    return looks or (base / reference).exists()


def _section(schema: type[BaseModel], values: Mapping[str, Any], change: Change) -> dict[str, Any]:
    known = fields(schema)
    return {
        key: _value(field_type(known[key]), value, change) if key in known else value
        for key, value in values.items()
    }


def _value(annotation: Any, value: Any, change: Change) -> Any:
    if isinstance(value, list):
        return [_value(annotation, one, change) for one in value]
    if isinstance(value, Mapping):
        inner = closest(nested(annotation), list(value))
        if inner is not None:
            return _section(inner, value, change)
        return {key: _value(annotation, one, change) for key, one in value.items()}
    return change(str(value)) if isinstance(value, (str, Path)) and mentions(annotation, Path) else value
