"""JSON schemas as patterns: every text of the pattern is JSON that the schema accepts (draft 2020-12).

What the schema accepts is larger in known ways, since there is one spelling for each value (see `json_text`):
properties stand in the order in which the schema declares them; without `additionalProperties` an object that
declares properties has no others; a schema without `type` means the type that its keywords are about. A keyword
that cannot be honoured is refused by name, and so is one that does not apply to the type beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from exnihilo.core.errors import ConfigError
from exnihilo.infer.expressions import NOTHING, Expressions, Pattern, Term
from exnihilo.infer.json_disjoint import disjoint
from exnihilo.infer.json_scalars import count, number, string
from exnihilo.infer.json_text import DEPTH, JsonText

ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"}
    # `discriminator` is OpenAPI's hint of what tells the options of a union apart; `oneOf` says what is allowed.
    | {"deprecated", "readOnly", "writeOnly", "discriminator"}
)
KEYWORDS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "boolean": (),
    "null": (),
}
# Schemas within one another, each some frames of the interpreter's stack of 1,000.
_NESTED = 100
# Keywords that say nothing with this value.
_WITHOUT_EFFECT = {"uniqueItems": False, "minProperties": 0, "nullable": False, "minContains": 0}


def json_schema(schema: Mapping[str, Any] | bool, *, depth: int = DEPTH) -> Pattern:
    """Texts of JSON that the schema accepts.

    `$ref` may lead back to where it stands: `depth` bounds how many references, or arrays and objects that no
    schema describes, stand within one another.

    Raises:
        ConfigError: a keyword that is unknown, unsupported or of the wrong type, by its place in the schema; a
            reference that leads nowhere; a `oneOf` whose options may both hold.
    """
    x = Expressions()
    try:
        return Pattern(x, _Compiler(schema, x).compile(depth))
    except RecursionError as error:
        raise ConfigError("schema: a value in it is nested too deeply; make it flatter") from error


class _Compiler:
    def __init__(self, root: Mapping[str, Any] | bool, x: Expressions) -> None:
        self._root, self._x = root, x
        self._json = JsonText(x)
        self._waiting: list[str] = []
        self._exclusive: dict[str, list[Any]] = {}
        self._nested = 0

    def compile(self, depth: int) -> Term:
        root = self._term(self._root, depth, "#")
        while self._waiting:
            # Rules are read now, so that nothing in them is refused in the middle of a text.
            self._x.rules[self._waiting.pop()](depth)
        for where, options in self._exclusive.items():
            self._check_exclusive(options, where)
        return root

    def _term(self, schema: Any, depth: int, where: str) -> Term:
        """A value of this schema with `depth` references left."""
        if self._nested == _NESTED:
            raise ConfigError(f"schema: over {_NESTED} schemas within one another; use $ref")
        self._nested += 1
        try:
            return self._of_schema(schema, depth, where)
        finally:
            self._nested -= 1

    def _of_schema(self, schema: Any, depth: int, where: str) -> Term:
        if isinstance(schema, bool):
            return self._json.any_value(depth - 1) if schema else NOTHING
        if not isinstance(schema, Mapping):
            raise ConfigError(f"schema {where}: {schema!r:.80}; must be an object, true or false")
        keys = {key for key in schema if key not in ANNOTATIONS and not _says_nothing(key, schema[key])}
        if not keys:
            return self._json.any_value(depth - 1)
        for key, compile_ in (("$ref", self._reference), ("anyOf", self._any_of), ("oneOf", self._one_of)):
            if key in keys:
                self._alone(key, keys, where)
                return compile_(schema[key], depth, where)
        if "allOf" in keys:
            self._alone("allOf", keys, where)
            return self._all_of(schema["allOf"], depth, where)
        types = self._types(schema, keys, where)
        if keys & {"enum", "const"}:
            return self._values(schema, keys, types, where)
        applicable = {"type"}.union(*(KEYWORDS[name] for name in types))
        self._refuse_others(keys - applicable, types, where)
        return self._x.either(*(self._of_type(name, schema, depth, where) for name in types))

    def _of_type(self, name: str, schema: Mapping[str, Any], depth: int, where: str) -> Term:
        match name:
            case "object":
                return self._object(schema, depth, where)
            case "array":
                return self._array(schema, depth, where)
            case "string":
                return string(self._json, schema, where)
            case "integer" | "number":
                return number(self._json, schema, where, whole=name == "integer")
            case "boolean":
                return self._json.boolean
        return self._json.null

    def _types(self, schema: Mapping[str, Any], keys: set[str], where: str) -> list[str]:
        """The types that a schema names, or those that its keywords are about."""
        if "type" not in keys:
            if keys & {"enum", "const"}:
                return list(KEYWORDS)
            about = [name for name, words in KEYWORDS.items() if name != "integer" and keys & set(words)]
            if not about:
                self._refuse_others(keys, (), where)
            return about
        given = schema["type"]
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, Sequence) or not names or not set(map(str, names)) <= set(KEYWORDS):
            raise ConfigError(f"schema {where}/type: {given!r}; must be among {', '.join(KEYWORDS)}")
        return [name for name in dict.fromkeys(names) if name != "integer" or "number" not in names]

    def _refuse_others(self, keys: Iterable[str], types: Sequence[str], where: str) -> None:
        problems = []
        for key in sorted(keys):
            if any(key in words for words in KEYWORDS.values()):
                problems.append(
                    f"schema {where}/{key}: says nothing about {' or '.join(types)}; "
                    "take it out, or name the type it is for"
                )
            else:
                problems.append(
                    f"schema {where}/{key}: not supported in decoding; take it out, or check it afterwards"
                )
        if problems:
            raise ConfigError(*problems)

    def _alone(self, key: str, keys: set[str], where: str) -> None:
        others = sorted(keys - {key})
        if others:
            raise ConfigError(
                f"schema {where}/{others[0]}: not supported beside {key}; move it to where {key} leads"
            )

    # What combines schemas.

    def _reference(self, pointer: Any, depth: int, where: str) -> Term:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise ConfigError(
                f"schema {where}/$ref: {pointer!r}; only places within this schema, such as '#/$defs/name'"
            )
        if pointer not in self._x.rules:
            target = self._resolve(pointer, where)
            self._x.define(pointer, lambda depth: self._term(target, depth, pointer))
            self._waiting.append(pointer)
        return self._x.rule(pointer, depth - 1)

    def _resolve(self, pointer: str, where: str) -> Any:
        found: Any = self._root
        for part in pointer.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise ConfigError(f"schema {where}/$ref: {pointer!r} leads nowhere; define it") from error
        return found

    def _options(self, options: Any, where: str) -> list[Any]:
        if not isinstance(options, list) or not options:
            raise ConfigError(f"schema {where}: {options!r:.80}; must be a list of schemas")
        return options

    def _any_of(self, options: Any, depth: int, where: str) -> Term:
        where = f"{where}/anyOf"
        found = enumerate(self._options(options, where))
        return self._x.either(*(self._term(option, depth, f"{where}/{i}") for i, option in found))

    def _one_of(self, options: Any, depth: int, where: str) -> Term:
        where = f"{where}/oneOf"
        options = self._exclusive[where] = self._options(options, where)
        return self._x.either(*(self._term(one, depth, f"{where}/{i}") for i, one in enumerate(options)))

    def _check_exclusive(self, options: list[Any], where: str) -> None:
        """Of the options of a `oneOf`, which have been read, no two may hold for one value."""
        for i, other in enumerate(options):
            for j, one in enumerate(options[:i]):
                if not disjoint(one, other, lambda pointer: self._resolve(pointer, where)):
                    raise ConfigError(
                        f"schema {where}: options {j} and {i} may both hold, which oneOf forbids; write anyOf, "
                        "or give them a required property with different constants"
                    )

    def _all_of(self, options: Any, depth: int, where: str) -> Term:
        where = f"{where}/allOf"
        if len(self._options(options, where)) > 1:
            raise ConfigError(f"schema {where}: more than one schema at once is not supported; merge them")
        return self._term(options[0], depth, f"{where}/0")

    # What describes values.

    def _values(self, schema: Mapping[str, Any], keys: set[str], types: Sequence[str], where: str) -> Term:
        key = "const" if "const" in keys else "enum"
        others = sorted(keys - {key, "type"})
        if others:
            raise ConfigError(f"schema {where}/{others[0]}: not supported beside {key}; take one of them out")
        values = [schema["const"]] if key == "const" else schema["enum"]
        if not isinstance(values, list):
            raise ConfigError(f"schema {where}/enum: {values!r:.80}; must be a list of values")
        kept = [value for value in values if any(is_of_type(value, name) for name in types)]
        return self._x.either(*(self._json.literal(value, f"schema {where}/{key}") for value in kept))

    def _object(self, schema: Mapping[str, Any], depth: int, where: str) -> Term:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, Mapping):
            raise ConfigError(f"schema {where}/properties: {properties!r:.80}; must be an object")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise ConfigError(f"schema {where}/required: {required!r:.80}; must be a list of names")
        others = schema.get("additionalProperties", not properties)
        place = f"{where}/additionalProperties"
        members = [
            (name, self._term(value, depth, f"{where}/properties/{name}"), name in required)
            for name, value in properties.items()
        ]
        undeclared = [name for name in dict.fromkeys(required) if name not in properties]
        if undeclared:
            of_undeclared = self._term(schema.get("additionalProperties", True), depth, place)
            members += [(name, of_undeclared, True) for name in undeclared]
        value = self._term(others, depth, place)
        if value == NOTHING:
            return self._json.object(members, NOTHING)
        key = self._json.other_string([name for name, _, _ in members]) if members else self._json.any_string
        return self._json.object(members, self._json.member(key, value))

    def _array(self, schema: Mapping[str, Any], depth: int, where: str) -> Term:
        first = schema.get("prefixItems", [])
        if not isinstance(first, list):
            raise ConfigError(f"schema {where}/prefixItems: {first!r:.80}; must be a list of schemas")
        low, high = count(schema, "minItems", where) or 0, count(schema, "maxItems", where)
        terms = [self._term(item, depth, f"{where}/prefixItems/{i}") for i, item in enumerate(first)]
        rest = self._term(schema.get("items", True), depth, f"{where}/items")
        if high is not None and low > high:
            return NOTHING
        return self._json.array(terms, rest, low, high)


def is_of_type(value: Any, name: str) -> bool:
    """Whether JSON Schema counts a value as of this type; 1.0 is an integer, true is no number."""
    match value:
        case bool():
            return name == "boolean"
        case None:
            return name == "null"
        case str():
            return name == "string"
        case int() | float():
            return name == "number" or (name == "integer" and value == value // 1)
        case Mapping():
            return name == "object"
    return name == "array"


def _says_nothing(key: str, value: Any) -> bool:
    return key in _WITHOUT_EFFECT and value == _WITHOUT_EFFECT[key]
