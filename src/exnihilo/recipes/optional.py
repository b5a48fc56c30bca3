"""Optional stages: left out, with what only they feed, when an input that they require is not given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exnihilo.core.config import references
from exnihilo.core.schema import fields
from exnihilo.core.stage import Stage

Values = dict[str, dict[str, Any]]


def leave_out(stages: Mapping[str, Stage], optional: set[str], values: Values, given: Values) -> set[str]:
    """The names of the stages to leave out. References to them leave lists, and fields that may be empty.

    `values` (from the file) and `given` (from flags) are {stage: {key: value}}, and are changed in place.
    """
    gone: set[str] = set()
    more = {""}
    while more:
        more = {name for name in optional - gone if _lacks(stages[name], values[name], given[name], gone)}
        gone |= more
    for name, stage in stages.items():
        for layer in (values[name], given[name]):
            _forget(stage, layer, gone)
    return gone


def _lacks(stage: Stage, values: Mapping[str, Any], given: Mapping[str, Any], gone: set[str]) -> bool:
    """Whether a required reference is not given, or names nothing but stages that are left out."""
    for field in references(stage.config):
        if not fields(stage.config)[field].is_required():
            continue
        named = given.get(field, values.get(field))
        if named is None or (set(named) <= gone if isinstance(named, list) else named in gone):
            return True
    return False


def _forget(stage: Stage, layer: dict[str, Any], gone: set[str]) -> None:
    for field in references(stage.config):
        named = layer.get(field)
        if isinstance(named, list):
            layer[field] = [one for one in named if one not in gone]
        elif named in gone and not fields(stage.config)[field].is_required():
            layer[field] = None
