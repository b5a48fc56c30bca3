"""What pydantic found wrong with a config, told as one line a problem: where, the value, what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from exnihilo.core.schema import (
    closest,
    describe,
    field_type,
    fields,
    members,
    mentions,
    nearest,
    nested,
    unwrap,
)

Key = tuple[str | int, ...]
Label = Callable[[Key, Key], str]
"""(at, key): `key` as it is written where `at` was: "recipe.yaml: model.depth" or "--model.depth"."""
UNKNOWN = "extra_forbidden"


def problems(
    schema: type[BaseModel], values: Mapping[str, Any], error: ValidationError, label: Label
) -> list[str]:
    """One line for each key at fault, in the order of the schema."""
    found: dict[Key, tuple[bool, Any]] = {}
    for item in error.errors(include_url=False):
        key, meant = _locate(schema, values, item["loc"], item["type"])
        # A union reports each of its members: keep the one that was meant, else the first.
        if key not in found or (meant and not found[key][0]):
            found[key] = (meant, item)
    # A union's other members also complain about keys that the member meant has not.
    told = {key[0] for key, (meant, _) in found.items() if meant and key}
    kept = {key: item for key, (meant, item) in found.items() if meant or not key or key[0] not in told}
    # A required key that is there under a misspelt name is one mistake, not two.
    misspelt = {_meant_by(schema, values, key) for key, item in kept.items() if item["type"] == UNKNOWN}
    return [
        _line(schema, values, key, item, label)
        for key, item in kept.items()
        if not (item["type"] == "missing" and key in misspelt)
    ]


def _locate(schema: type[BaseModel], values: Any, loc: Sequence[str | int], kind: str) -> tuple[Key, bool]:
    """The key that a location of pydantic stands for, without the names of union members in it; and whether
    those members are the ones that the value's shape was meant for."""
    key: Key = ()
    meant = True
    for index, part in enumerate(loc):
        if has(values, part):
            key, values = (*key, part), values[part]
        elif kind == "missing" and index == len(loc) - 1:
            key = (*key, part)
        else:
            meant = meant and _fits(str(part), values, _type_at(schema, key))
    return key, meant


def has(values: Any, part: str | int) -> bool:
    """Whether a mapping has this key, or a list this index."""
    if isinstance(values, list):
        return isinstance(part, int) and part < len(values)
    return isinstance(values, Mapping) and part in values


def _fits(member: str, value: Any, annotation: Any) -> bool:
    if isinstance(value, Mapping):
        best = closest(nested(annotation), list(value))
        return member.startswith("dict[") or (
            best is not None and member.endswith((best.__name__, best.__name__ + "]"))
        )
    is_list = member.startswith(("list[", "tuple[", "set[", "frozenset["))
    if isinstance(value, list):
        return is_list
    return (
        not is_list
        and not member.startswith("dict[")
        and member not in {s.__name__ for s in nested(annotation)}
    )


def _type_at(schema: type[BaseModel], key: Key) -> Any:
    """The type of the value at a key, or None where the schema does not know it."""
    annotation: Any = schema
    for part in key:
        if isinstance(part, int):
            annotation = next(
                (
                    get_args(inner)[0]
                    for inner in (unwrap(m)[0] for m in members(annotation))
                    if get_args(inner)
                ),
                None,
            )
            continue
        options = [annotation] if annotation is schema else nested(annotation)
        match = next((fields(option)[part] for option in options if part in fields(option)), None)
        if match is None:
            return None
        annotation = field_type(match)
    return annotation


def _line(schema: type[BaseModel], values: Mapping[str, Any], key: Key, item: Any, label: Label) -> str:
    if item["type"] == UNKNOWN:
        return f"{label(key, key)}: unknown key; {suggestion(schema, values, key, label)}"
    annotation = _type_at(schema, key) if key else None
    value = item["input"]
    allowed = f"allowed: {describe(annotation)}" if annotation is not None else ""
    if item["type"] == "missing":
        return f"{label(key, key)}: required; {allowed}"
    if item["type"] == "value_error":
        # A message of the schema's own says what to do.
        got = f" (got {show(value)})" if key and not isinstance(value, Mapping) else ""
        return ": ".join(part for part in (label(key, key), str(item["ctx"]["error"])) if part) + got
    if annotation is None:
        return f"{label(key, key)}: {item['msg']}"
    hint = ""
    if takes_text(annotation) and any(
        isinstance(one, bool) for one in (value if isinstance(value, list) else [value])
    ):
        hint = " (YAML reads a bare yes, no, on or off as true or false: quote it)"
    elif takes_text(annotation) and isinstance(value, (int, float)):
        hint = " (quote it: it is text here)"
    elif isinstance(value, str) and "list of list" in describe(annotation):
        hint = ' (as JSON: [["a", "b"], ["c", "d"]])'
    return f"{label(key, key)}: got {show(value)}; {allowed}{hint}"


def takes_text(annotation: Any) -> bool:
    """Whether a field takes text of any kind, a fixed choice included."""
    inner, _ = unwrap(annotation)
    if get_origin(inner) is Literal:
        return any(isinstance(one, str) for one in get_args(inner))
    return mentions(annotation, str) or any(takes_text(part) for part in get_args(inner) if get_args(part))


def show(value: Any) -> str:
    """A value as a user would write it, at most 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def suggestion(schema: type[BaseModel], values: Mapping[str, Any], key: Key, label: Label) -> str:
    """The nearest key to an unknown one: beside it, else anywhere in the schema; else all keys there."""
    meant = _meant_by(schema, values, key)
    if meant is not None:
        return f"did you mean {label(key, meant).rpartition(': ')[2]}?"
    names = _names_beside(schema, values, key)
    return f"allowed: {', '.join(names)}" if names else "nothing is allowed there"


def _meant_by(schema: type[BaseModel], values: Mapping[str, Any], key: Key) -> Key | None:
    """The key that an unknown one probably stands for."""
    *parents, name = key
    near = nearest(str(name), _names_beside(schema, values, key))
    if near is not None:
        return (*parents, near)
    return next((path for path in paths(schema) if path[-1] == name), None)


def _names_beside(schema: type[BaseModel], values: Mapping[str, Any], key: Key) -> list[str]:
    parents = key[:-1]
    options = nested(_type_at(schema, parents)) if parents else [schema]
    section = _value_at(values, parents)
    here = closest(options, list(section) if isinstance(section, Mapping) else [])
    return list(fields(here)) if here else []


def _value_at(values: Any, key: Sequence[str | int]) -> Any:
    for part in key:
        values = values[part]
    return values


def paths(schema: type[BaseModel], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a schema, nested ones after their parent."""
    found: list[tuple[str, ...]] = []
    for name, field in fields(schema).items():
        found.append((*above, name))
        for inner in nested(field_type(field)):
            found += paths(inner, (*above, name))
    return list(dict.fromkeys(found))
