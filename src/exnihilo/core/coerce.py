"""Text from a flag or a variable, read by the type that the schema gives its key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from exnihilo.core.markers import CountMark
from exnihilo.core.schema import closest, field_type, fields, members, nested, unwrap

BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
MISSING = object()


def coerce(schema: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give text its schema's types; text that does not fit, and unknown keys, stay for validation to report.

    Dashes in a key stand for underscores where the schema knows the key that way.
    """
    known = fields(schema)
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = key if key in known else key.replace("-", "_")
        result[name if name in known else key] = (
            _value(field_type(known[name]), value) if name in known else value
        )
    return result


def _value(annotation: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = closest(nested(annotation), list(value))
        return coerce(inner, value) if inner else dict(value)
    if isinstance(value, list):
        return [_value(_element(annotation), one) for one in value] if _element(annotation) else value
    return _text(annotation, value) if isinstance(value, str) else value


def _text(annotation: Any, text: str) -> Any:
    """The first member of the type that the text fits, null first and text last; the text where none does."""
    order = {type(None): 0, str: 2}
    for member in sorted(members(annotation), key=lambda one: order.get(unwrap(one)[0], 1)):
        value = _read(member, text)
        if value is not MISSING:
            return value
    return text


def _read(annotation: Any, text: str) -> Any:
    inner, metadata = unwrap(annotation)
    word = text.strip().lower()
    if inner is type(None):
        return None if word in ("null", "none", "~") else MISSING
    if inner is bool:
        return BOOLEANS.get(word, MISSING)
    if inner is str or any(isinstance(item, CountMark) for item in metadata):
        return text
    if inner is int or inner is float:
        try:
            return inner(text)
        except ValueError:
            return MISSING
    if get_origin(inner) is Literal:
        return next((one for one in get_args(inner) if str(one).lower() == word), MISSING)
    if _element(inner) is not None:
        return _list(inner, text)
    if text.lstrip().startswith(("{", "[")):
        return _json(text, MISSING)
    return MISSING


def _list(annotation: Any, text: str) -> Any:
    if text.lstrip().startswith("["):
        return _json(text, MISSING)
    if _element(_element(annotation)) is not None:
        return MISSING  # commas part one list only
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return [_value(_element(annotation), part) for part in parts]


def _element(annotation: Any) -> Any:
    for member in members(annotation):
        inner, _ = unwrap(member)
        if get_origin(inner) in (list, tuple, set, frozenset, Sequence):
            return get_args(inner)[0]
    return None


def _json(text: str, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return otherwise
