"""Reading a config schema: the names, types, limits and nested schemas of its fields."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from exnihilo.core.markers import CountMark, Reference

PLAIN: dict[Any, str] = {
    bool: "true | false",
    int: "int",
    float: "float",
    str: "text",
    type(None): "null",
    Any: "any value",
}
LIMITS: tuple[tuple[type, str, str], ...] = (
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Ge, "ge", "≥"),
    (annotated_types.Lt, "lt", "<"),
    (annotated_types.Le, "le", "≤"),
    (annotated_types.MinLen, "min_length", "length ≥"),
    (annotated_types.MaxLen, "max_length", "length ≤"),
    (annotated_types.MultipleOf, "multiple_of", "multiple of"),
)


def fields(schema: type[BaseModel]) -> dict[str, FieldInfo]:
    """A schema's fields by the name that a user writes: the alias where there is one."""
    return {field.alias or name: field for name, field in schema.model_fields.items()}


def field_type(field: FieldInfo) -> Any:
    """A field's type with the metadata that pydantic took off its outermost level put back."""
    annotation: Any = field.annotation
    for item in field.metadata:
        annotation = Annotated[annotation, item]
    return annotation


def unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """(type, metadata) of a possibly annotated type."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return inner, tuple(metadata)
    return annotation, ()


def members(annotation: Any) -> list[Any]:
    """The members of a union (each may be annotated); of any other type, that type alone."""
    inner, _ = unwrap(annotation)
    if get_origin(inner) in (Union, types.UnionType):
        return [part for member in get_args(inner) for part in members(member)]
    return [annotation]


def mentions(annotation: Any, *wanted: Any) -> bool:
    """Whether any of the wanted types stands somewhere in an annotation."""
    if any(annotation is one for one in wanted):
        return True
    return any(mentions(part, *wanted) for part in get_args(annotation))


def nested(annotation: Any) -> list[type[BaseModel]]:
    """The schemas that a mapping (or a list of mappings) of this type may follow."""
    found: list[type[BaseModel]] = []
    for member in members(annotation):
        inner, _ = unwrap(member)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found.append(inner)
        elif get_origin(inner) in (list, tuple, Sequence):
            found += [schema for part in get_args(inner) for schema in nested(part)]
    return found


def closest(schemas: Sequence[type[BaseModel]], keys: Sequence[str]) -> type[BaseModel] | None:
    """Of several schemas, the one that knows most of the keys given, or nearly: the one that was meant."""

    def score(schema: type[BaseModel]) -> tuple[int, float]:
        known = fields(schema)
        likeness = (difflib.SequenceMatcher(None, str(key), name).ratio() for key in keys for name in known)
        return sum(key in known for key in keys), max(likeness, default=0.0)

    return max(schemas, key=score, default=None)


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The name that was probably meant, or None where none is near."""
    return next(iter(difflib.get_close_matches(name.replace("-", "_"), names, n=1, cutoff=0.6)), None)


def marker(annotation: Any, kind: type) -> Any:
    """The first metadata of this kind anywhere in an annotation, or None."""
    if get_origin(annotation) is Annotated:
        for item in unwrap(annotation)[1]:
            if isinstance(item, kind):
                return item
    for part in get_args(annotation):
        found = marker(part, kind)
        if found is not None:
            return found
    return None


def describe(annotation: Any) -> str:
    """What a field takes, in words: "float > 0", "auto | int", "list of model (a stage or a path)"."""
    parts = []
    for member in members(annotation):
        inner, metadata = unwrap(member)
        # Limits on a union hold for its numbers: "int ≥ 1 | null".
        outer = () if member is annotation or inner is type(None) else unwrap(annotation)[1]
        parts.append(" ".join([_name(inner, metadata), *_limits((*metadata, *outer))]))
    return " | ".join(dict.fromkeys(parts))


def _name(inner: Any, metadata: tuple[Any, ...]) -> str:
    for item in metadata:
        if isinstance(item, Reference):
            return f"{item.kind} (a stage or a path)"
        if isinstance(item, CountMark):
            return "count such as 8M"
    origin, arguments = get_origin(inner), get_args(inner)
    if origin is Literal:
        return " | ".join(
            "true" if one is True else "false" if one is False else str(one) for one in arguments
        )
    if origin in (list, tuple, set, frozenset, Sequence):
        return "list of " + describe(arguments[0]) if arguments else "list"
    if origin is dict or inner is dict:
        return "mapping to " + describe(arguments[1]) if arguments else "mapping"
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return "mapping of " + ", ".join(fields(inner))
    if isinstance(inner, type) and issubclass(inner, Enum):
        return " | ".join(str(one.value) for one in inner)
    if inner in PLAIN:
        return PLAIN[inner]
    return getattr(inner, "__name__", str(inner)).lower()


def _limits(metadata: tuple[Any, ...]) -> Iterator[str]:
    for item in metadata:
        if isinstance(item, FieldInfo):  # of a union's member: Annotated[int, Field(ge=1)] | None
            yield from _limits(tuple(item.metadata))
        for kind, name, sign in LIMITS:
            if isinstance(item, kind):
                yield f"{sign} {getattr(item, name)}"
        pattern = getattr(item, "pattern", None)
        if pattern is not None:
            yield f"matching {pattern}"
