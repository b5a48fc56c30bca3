"""Whether two JSON schemas can hold for one value: what `oneOf` asks, answered where it is plain to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Resolve = Callable[[str], Any]

# References followed on the way to a type or a constant.
_FOLLOWED = 16


def disjoint(one: Any, other: Any, resolve: Resolve, followed: int = 0) -> bool:
    """True where no value satisfies both schemas; False where some may, or where it is not plain.

    Plain are other types, other constants, a required property that is disjoint itself, and a required
    property that the other schema forbids. `resolve` gives the schema that a `$ref` names.
    """
    if followed > _FOLLOWED:
        return False
    for schema, against in ((one, other), (other, one)):
        if schema is False:
            return True
        if not isinstance(schema, Mapping):
            return False
        if "$ref" in schema:
            return disjoint(resolve(schema["$ref"]), against, resolve, followed + 1)
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if isinstance(options, list):
            each = all if "allOf" not in schema else any
            return each(disjoint(option, against, resolve, followed + 1) for option in options)
    values, other_values = _values(one), _values(other)
    if values is not None and other_values is not None:
        return not values & other_values
    types, other_types = _types(one), _types(other)
    if types is None or other_types is None:
        return False
    if not types & other_types:
        return True
    if types == other_types == {"object"}:
        return _objects_disjoint(one, other, resolve, followed)
    return False


def _objects_disjoint(
    one: Mapping[str, Any], other: Mapping[str, Any], resolve: Resolve, followed: int
) -> bool:
    for schema, against in ((one, other), (other, one)):
        allowed = against.get("properties", {})
        for name in schema.get("required", []):
            if name not in allowed:
                if against.get("additionalProperties", True) is False:
                    return True
            elif (
                name in schema.get("properties", {})
                and name in against.get("required", [])
                and disjoint(schema["properties"][name], allowed[name], resolve, followed + 1)
            ):
                return True
    return False


def _types(schema: Mapping[str, Any]) -> set[str] | None:
    """The types by name, an integer as a number; None where the schema does not say."""
    values = _values(schema)
    if values is not None and "type" not in schema:
        return {_type_of(json.loads(value)) for value in values}
    given = schema.get("type")
    names = [given] if isinstance(given, str) else given
    return {"number" if name == "integer" else name for name in names} if isinstance(names, list) else None


def _values(schema: Mapping[str, Any]) -> set[str] | None:
    """The values that a schema lists, written so that equal ones are equal (1 and 1.0 are)."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list):
        return None
    return {json.dumps(_as_equal(value), sort_keys=True) for value in values}


def _as_equal(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _as_equal(member) for key, member in value.items()}
    return [_as_equal(item) for item in value] if isinstance(value, list) else value


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "array"}
    return names[type(value)]
