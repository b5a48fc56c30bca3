"""JSON schemas: what is generated parses and validates, and what is valid can be generated."""

from __future__ import annotations

import datetime
import ipaddress
import json
import random
import re
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pytest
import torch

from exnihilo.core.errors import ConfigError
from exnihilo.infer.automaton import TokenAutomaton
from exnihilo.infer.byte_automaton import ByteAutomaton
from exnihilo.infer.json_schema import json_schema
from exnihilo.infer.json_text import json_object
from exnihilo.infer.token_trie import TokenTrie
from exnihilo.tokenizer.tokenizer import Tokenizer

Validator = jsonschema.Draft202012Validator
Matches = Callable[[ByteAutomaton, str | bytes], bool]
Walk = Callable[..., str]

TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "value": {"type": "integer", "minimum": 0, "maximum": 9},
                "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        }
    },
}
SCHEMAS: list[Any] = [
    {},
    True,
    {"type": "null"},
    {"type": "boolean"},
    {"type": "integer"},
    {"type": "number"},
    {"type": "string"},
    {"type": "array"},
    {"type": "object"},
    {"type": ["string", "null"], "maxLength": 3},
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"type": "string", "pattern": "^[a-z\"\\\\\n]{1,3}[^a-zA-Z]$"},
    {"type": "string", "pattern": r"\d\w\s\D\W\S"},
    {"type": "string", "pattern": "a|^b|c$", "minLength": 3, "maxLength": 6},
    {"type": "string", "format": "uuid"},
    {"enum": ["a", 1, 2.5, None, True, {"k": [1, {"é": "\""}]}, "床\n"]},
    {"type": "string", "enum": ["x", 1, "y"]},
    {"const": {"a": [], "b": {}}},
    {"type": "integer", "minimum": -12, "exclusiveMaximum": 105},
    {"type": "integer", "exclusiveMinimum": 2.5},
    {"type": "number", "minimum": -1.5, "exclusiveMaximum": 20.25},
    {"type": "number", "exclusiveMinimum": 0},
    {"type": "number", "maximum": -3},
    {"minimum": 3, "maximum": 4},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    {"type": "array", "items": False},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "items": {"const": "x"}, "minItems": 1},
    {"type": "array", "prefixItems": [{"type": "null"}, {"type": "null"}], "items": False, "maxItems": 1},
    {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}},
    {"properties": {"a": {"type": "null"}, "b": {"type": "boolean"}}, "required": ["b"]},
    {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 3}},
    {
        "type": "object",
        "properties": {"ab": {"type": "null"}, "a": {"type": "null"}, "é": False},
        "required": ["a", "other"],
        "additionalProperties": {"type": "boolean"},
    },
    {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 2}, {"const": None}], "title": "x"},
    {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 2}, {"enum": [None, True]}]},
    {"allOf": [{"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "null"}}, "description": "x", "default": None},
    {"$ref": "#/$defs/a~1b%20c/items", "$defs": {"a/b c": {"items": {"type": "boolean"}}}},
    TREE,
    {"type": "object", "properties": {"deep": True}, "required": ["deep"]},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_what_is_generated_parses_and_validates(schema: Any, walk: Walk) -> None:
    automaton, draw = ByteAutomaton(json_schema(schema)), random.Random(1)
    Validator.check_schema(schema)
    validator = Validator(schema, format_checker=Validator.FORMAT_CHECKER)
    for text in {walk(automaton, draw) for _ in range(25)}:
        validator.validate(json.loads(text))


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    12,
    105,
    3.5,
    0.25,
    "",
    "a",
    "ab",
    "abcd",
    "床\n",
    [],
    [True],
    [1, None],
]
VALUES += [[None] * 4, {}, {"a": None}, {"a": None, "b": True}, {"b": True}, {"z": 3}, {"é": 1}, {"k": "a"}]
VALUES += [{"a": None, "other": True, "x": False}, {"value": 1, "children": [{"value": 2, "children": []}]}]


@pytest.mark.parametrize(
    "schema",
    [
        {"additionalProperties": False} | schema if "properties" in schema else schema
        for schema in SCHEMAS
        if isinstance(schema, dict) and not set(schema) <= {"minimum", "maximum", "properties", "required"}
    ],
    ids=lambda schema: json.dumps(schema)[:60],
)
def test_values_are_accepted_exactly_where_they_are_valid(
    schema: dict[str, Any], matches: Matches, walk: Walk
) -> None:
    """Values of all kinds and values of this schema, in both spellings.

    Left out are the known differences: schemas without a type, properties that are not declared.
    """
    automaton, draw = ByteAutomaton(json_schema(schema)), random.Random(2)
    validator = Validator(schema, format_checker=Validator.FORMAT_CHECKER)
    own = [json.loads(walk(automaton, draw)) for _ in range(15)]
    for value in VALUES + own:
        for separators in ((", ", ": "), (",", ":")):
            text = json.dumps(value, ensure_ascii=False, separators=separators)
            if "e+1" in text:
                continue  # an exponent of three digits
            assert matches(automaton, text) == validator.is_valid(value), text


def _random_schema(draw: random.Random, depth: int) -> Any:
    low = draw.randrange(-200, 200)
    match draw.randrange(9 if depth else 5):
        case 0:
            limits = [
                {},
                {"minLength": 2},
                {"maxLength": 3},
                {"format": "ipv4"},
                {"pattern": "b|^a+$", "maxLength": 4},
            ]
            return {"type": "string", **draw.choice(limits)}
        case 1:
            limits = [
                {},
                {"minimum": low},
                {"maximum": low},
                {"exclusiveMinimum": low, "maximum": low + 120.5},
            ]
            return {"type": "integer", **draw.choice(limits)}
        case 2:
            limits = [
                {},
                {"minimum": low / 8},
                {"exclusiveMaximum": low / 7},
                {"minimum": low, "maximum": low + 0.01},
            ]
            return {"type": "number", **draw.choice(limits)}
        case 3:
            return {"enum": draw.sample(["x", 1, None, 1.5, True, [], {"q": 1}, "é\n"], 3)}
        case 4:
            return draw.choice([True, {}, {"type": "object"}, {"type": ["boolean", "null"]}])
        case 5 | 6:
            properties = {
                name: _random_schema(draw, depth - 1) for name in draw.sample(["a", "ab", "é", '"'], 2)
            }
            others = draw.choice([{}, {"additionalProperties": _random_schema(draw, depth - 1)}])
            return {
                "type": "object",
                "properties": properties,
                "required": draw.sample(["a", "é", "z"], 1),
                **others,
            }
        case 7:
            first = [_random_schema(draw, depth - 1) for _ in range(draw.randrange(3))]
            limits = [{}, {"minItems": draw.randrange(3)}, {"maxItems": draw.randrange(1, 4)}]
            return {
                "type": "array",
                "prefixItems": first,
                "items": _random_schema(draw, depth - 1),
            } | draw.choice(limits)
    return {"anyOf": [_random_schema(draw, depth - 1) for _ in range(2)]}


def test_texts_of_random_schemas_are_valid(walk: Walk) -> None:
    draw, impossible = random.Random(9), 0
    for _ in range(120):
        schema = {"type": "array", "items": _random_schema(draw, 3), "minItems": 1}
        validator = Validator(schema, format_checker=Validator.FORMAT_CHECKER)
        try:
            automaton = ByteAutomaton(json_schema(schema))
        except ConfigError:
            impossible += 1
            continue
        for _ in range(2):
            validator.validate(json.loads(walk(automaton, draw)))
    assert impossible < 12


def test_tokens_of_random_logits_always_make_valid_json(tokenizer: Tokenizer) -> None:
    """The whole way: schema, automaton over tokens, random logits, a budget that must be kept."""
    trie, draw = TokenTrie(tokenizer.token_bytes), torch.Generator().manual_seed(5)
    ends = (tokenizer.end, tokenizer.eos)
    for schema in SCHEMAS:
        automaton = TokenAutomaton(json_schema(schema), trie, ends)
        least = automaton.shortest(automaton.start) + 1
        for budget in (least, least + 5, least + 30):
            state, ids = automaton.start, []
            while not ids or ids[-1] not in ends:
                allowed = automaton.allowed(state, budget - len(ids))
                logits = torch.randn(len(allowed), generator=draw)
                ids.append(int(logits.masked_fill(~allowed, float("-inf")).argmax()))
                state = automaton.advance(state, ids[-1])
            assert len(ids) <= budget
            value = json.loads(tokenizer.decode_bytes(ids[:-1]).decode())
            jsonschema.validate(value, schema)


def test_integer_bounds_are_exact(matches: Matches) -> None:
    draw = random.Random(0)
    bounds = [(0, 0), (-1, 1), (9, 10), (99, 100), (-100, -99), (7, 1205), (-1205, 88), (1000, 999)]
    bounds += [tuple(sorted(draw.choices(range(-1300, 1300), k=2))) for _ in range(25)]  # type: ignore[misc]
    for low, high in bounds:
        pattern = json_schema({"type": "integer", "minimum": low, "maximum": high})
        if low > high:
            with pytest.raises(ConfigError, match="no text at all"):
                ByteAutomaton(pattern)
            continue
        automaton = ByteAutomaton(pattern)
        near = {n + d for n in (low, high, 0, 10, 100, 1000, -10, -100) for d in range(-11, 12)}
        for number in near | set(range(-1400, 1400, 7)):
            assert matches(automaton, str(number)) == (low <= number <= high), (low, high, number)
        assert not matches(automaton, "-0") and not matches(automaton, "00") and not matches(automaton, "")
    open_above = ByteAutomaton(json_schema({"type": "integer", "minimum": 10**17 + 3}))
    for number in (10**17 + 2, 10**17 + 3, 10**18 - 1):
        assert matches(open_above, str(number)) == (number >= 10**17 + 3)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("0", "1"),
        ("-0.5", "0.25"),
        ("1.05", "1.1"),
        ("-3.2", "-3.1"),
        ("0.09", "10"),
        ("-2", "99.99"),
        ("5", "5"),
    ],
)
@pytest.mark.parametrize("exclusive", [False, True])
def test_number_bounds_are_exact(low: str, high: str, exclusive: bool, matches: Matches, walk: Walk) -> None:
    names = ("exclusiveMinimum", "exclusiveMaximum") if exclusive else ("minimum", "maximum")
    schema = {"type": "number", names[0]: float(low), names[1]: float(high)}
    if exclusive and low == high:
        with pytest.raises(ConfigError, match="no text at all"):
            ByteAutomaton(json_schema(schema))
        return
    automaton, draw = ByteAutomaton(json_schema(schema)), random.Random(3)
    bounds = Decimal(low), Decimal(high)
    steps = [Decimal(n) / 10**places for places in range(4) for n in range(-11, 12)]
    for number in {bound + step for bound in bounds for step in steps} | {
        Decimal(n) / 20 for n in range(-80, 300)
    }:
        inside = bounds[0] < number < bounds[1] if exclusive else bounds[0] <= number <= bounds[1]
        text = f"{number:f}"
        if number == 0:
            text = text.lstrip("-")
            assert not matches(automaton, "-0") and not matches(automaton, "-0.0")
        assert matches(automaton, text) == inside, text
        assert matches(automaton, text + ("00" if "." in text else ".00")) == inside, text
    for _ in range(50):
        jsonschema.validate(json.loads(walk(automaton, draw)), schema)


def test_a_number_next_to_a_bound_is_beyond_it_for_its_reader(walk: Walk) -> None:
    """12 digits before the point leave a double 3 after it: 1000000000000.00001 would be read as the bound."""
    schema = {"type": "number", "exclusiveMinimum": 10**12, "exclusiveMaximum": 10**12 + 1}
    automaton, draw = ByteAutomaton(json_schema(schema)), random.Random(0)
    for _ in range(200):
        jsonschema.validate(json.loads(walk(automaton, draw)), schema)


@pytest.mark.parametrize("pattern", ["a.*b", "^[a-z]+$", "^([A-Z][a-z]+ )*$"])
def test_a_pattern_and_a_long_length_together_are_quick(pattern: str, matches: Matches) -> None:
    start = time.process_time()
    automaton = ByteAutomaton(json_schema({"type": "string", "pattern": pattern, "maxLength": 700}))
    assert time.process_time() - start < 3, "measured: 0.4 s"
    for text in ("ab", "a" * 699 + "b", "a" * 700 + "b", "a" * 700, "Abc De ", "A" * 3):
        valid = re.search(pattern, text) is not None and len(text) <= 700
        assert matches(automaton, json.dumps(text)) == valid, text


def test_lengths_count_characters_not_bytes(matches: Matches) -> None:
    automaton = ByteAutomaton(json_schema({"type": "string", "minLength": 2, "maxLength": 2}))
    for text in ("ab", "é🙂", '"\\', "\n\x00"):
        assert matches(automaton, json.dumps(text, ensure_ascii=False)), text
    for text in ("a", "abc", "🙂", '"'):
        assert not matches(automaton, json.dumps(text, ensure_ascii=False)), text


def test_each_string_has_one_spelling(matches: Matches) -> None:
    automaton = ByteAutomaton(json_schema({"type": "string"}))
    assert matches(automaton, r'"\n\u001f\"\\/"')
    for other in (r'"\u0041"', r'"\/"', r'"\u000a"', '"\n"', r'"\u001F"'):
        assert not matches(automaton, other), other


def test_recursion_goes_as_deep_as_asked_and_always_ends(matches: Matches, walk: Walk) -> None:
    def nested(depth: int) -> str:
        text = '{"value":1,"children":[]}'
        for _ in range(depth - 1):
            text = f'{{"value":1,"children":[{text}]}}'
        return text

    automaton = ByteAutomaton(json_schema(TREE, depth=5))
    assert matches(automaton, nested(5)) and not matches(automaton, nested(6))
    assert matches(ByteAutomaton(json_schema(TREE, depth=400)), nested(400)), "no stack overflows"
    # One more level is never opened where it could not be closed.
    state = automaton.start
    for byte in nested(5).partition("[]")[0].encode() + b"[":
        state = automaton.step(state, byte)
    assert [b for b in range(256) if automaton.step(state, b) >= 0] == [ord("]")]
    any_object = ByteAutomaton(json_object(depth=2))
    assert matches(any_object, '{"a":[[]]}') and not matches(any_object, '{"a":[[[]]]}')


def test_an_object_may_have_many_properties(matches: Matches) -> None:
    names = [f"property {i}" for i in range(600)]
    properties = {name: {"type": "null"} for name in names}
    automaton = ByteAutomaton(
        json_schema({"type": "object", "properties": properties, "required": names[::5]})
    )
    assert matches(automaton, json.dumps(dict.fromkeys(names)))
    assert not matches(automaton, json.dumps(dict.fromkeys(names[1:])))


def test_deep_nesting_is_decoded_or_refused_and_never_overflows(matches: Matches) -> None:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(90):
        schema = {"type": "array", "items": schema}
    assert matches(ByteAutomaton(json_schema(schema)), "[" * 90 + "null" + "]" * 90)
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ConfigError, match="over 100 schemas within one another"):
        json_schema(schema)
    value: list[Any] = []
    for _ in range(900):
        value = [value]
    with pytest.raises(ConfigError, match="a value in it is nested too deeply"):
        json_schema({"const": value})


def test_a_schema_that_only_contains_itself_is_refused() -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    for schema in (endless, {"$ref": "#"}, False, {"type": "string", "enum": [1]}, {"enum": []}):
        with pytest.raises(ConfigError, match="no text at all matches"):
            ByteAutomaton(json_schema(schema))
    optional = ByteAutomaton(json_schema({"type": "object", "properties": {"next": {"$ref": "#"}}}))
    assert optional.distance[optional.start] == 2


DATE = {"type": "string", "format": "date"}


@pytest.mark.parametrize(
    ("name", "parse"),
    [
        ("date", datetime.date.fromisoformat),
        ("time", datetime.time.fromisoformat),
        ("date-time", datetime.datetime.fromisoformat),
        ("uuid", uuid.UUID),
        ("ipv4", ipaddress.IPv4Address),
        ("email", lambda text: text.index("@")),
    ],
)
def test_formats_are_kept(name: str, parse: Callable[[str], object], walk: Walk) -> None:
    automaton, draw = ByteAutomaton(json_schema({"type": "string", "format": name})), random.Random(6)
    for _ in range(60):
        parse(json.loads(walk(automaton, draw)))


def test_dates_know_the_months_and_leap_years(matches: Matches) -> None:
    automaton = ByteAutomaton(json_schema({"type": "string", "format": "date"}))
    for year in (1, 4, 100, 400, 1900, 1999, 2000, 2023, 2024, 2100, 9999):
        for month in range(14):
            for day in (0, 1, 28, 29, 30, 31, 32):
                text = f"{year:04}-{month:02}-{day:02}"
                try:
                    valid = bool(datetime.date.fromisoformat(text))
                except ValueError:
                    valid = False
                assert matches(automaton, f'"{text}"') == valid, text
    assert not matches(automaton, '"0000-01-01"')


class Address(pydantic.BaseModel):
    street: str = pydantic.Field(min_length=1, max_length=20)
    number: int | None = None


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, pydantic.Field(ge=1, le=9)]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    barks: bool = True


class Person(pydantic.BaseModel):
    """A person, as an extraction would describe one."""

    model_config = pydantic.ConfigDict(extra="forbid")
    name: str = pydantic.Field(pattern=r"^[A-Z][a-z]+$", description="given name")
    born: datetime.date
    height: float = pydantic.Field(gt=0, lt=2.72)
    pets: list[Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]] = pydantic.Field(max_length=2)
    home: Address
    point: tuple[int, float]
    scores: dict[str, int] = {}
    manager: Person | None = None


def test_models_of_pydantic_are_decoded_as_they_describe_themselves(walk: Walk) -> None:
    automaton, draw = ByteAutomaton(json_schema(Person.model_json_schema())), random.Random(7)
    kinds = set()
    for _ in range(30):
        person = Person.model_validate_json(walk(automaton, draw, 200))
        kinds |= {pet.kind for pet in person.pets}
    assert kinds == {"cat", "dog"}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array", "uniqueItems": True}, "#/uniqueItems: not supported"),
        ({"type": "integer", "multipleOf": 3}, "#/multipleOf: not supported"),
        ({"properties": {"a": {"not": {}}}}, "#/properties/a/not: not supported"),
        ({"type": "object", "patternProperties": {}}, "#/patternProperties: not supported"),
        ({"type": "object", "minProperties": 1}, "#/minProperties: not supported"),
        ({"type": "string", "maxlength": 3}, "#/maxlength: not supported"),
        ({"type": "integer", "maxLength": 3}, "#/maxLength: says nothing about integer"),
        ({"type": "object", "anyOf": [{}]}, "#/type: not supported beside anyOf"),
        ({"enum": [1], "minimum": 3}, "#/minimum: not supported beside enum"),
        ({"$ref": "#/$defs/a", "type": "null"}, "#/type: not supported beside \\$ref"),
        ({"$ref": "#/$defs/absent"}, "#/\\$ref: '#/\\$defs/absent' leads nowhere"),
        ({"$ref": "https://example.org/a"}, "#/\\$ref: 'https://example.org/a'; only places within"),
        ({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"if": {}}}}, "#/\\$defs/a/if: not supported"),
        ({"type": "strin"}, "#/type: 'strin'; must be among object, array, string"),
        ({"type": [{}]}, "#/type: \\[{}\\]; must be among"),
        ({"oneOf": [{"$ref": 3}, {"type": "null"}]}, "#/oneOf/0/\\$ref: 3; only places within"),
        ({"oneOf": [{"$ref": "#/$defs/a"}, {"required": ["a"]}], "$defs": {"a": {"properties": 3}}}, "#/\\$defs/a/pr"),
        ({"type": "integer", "maximum": 10**400}, "#/maximum: 1000"),
        ({"type": "string", "format": ["date"]}, "#/format: \\['date'\\] is not"),
        ({"type": []}, "#/type: \\[\\]; must be among"),
        ({"type": "string", "minLength": -1}, "#/minLength: -1; must be a whole number"),
        ({"type": "string", "maxLength": "3"}, "#/maxLength: '3'; must be a whole number"),
        ({"type": "string", "pattern": 3}, "#/pattern: 3; must be a text"),
        ({"type": "string", "pattern": "(a)\\1"}, "#/pattern: regex .*a backreference at position 3"),
        ({"type": "string", "format": "hostname"}, "#/format: 'hostname' is not supported; one of date"),
        ({"type": "number", "exclusiveMinimum": True}, "#/exclusiveMinimum: True; must be a number"),
        ({"enum": "ab"}, "#/enum: 'ab'; must be a list"),
        ({"const": float("nan")}, "#/const: nan is no JSON value"),
        ({"properties": []}, "#/properties: \\[\\]; must be an object"),
        ({"properties": {}, "required": "a"}, "#/required: 'a'; must be a list of names"),
        ({"prefixItems": {}}, "#/prefixItems: {}; must be a list"),
        ({"anyOf": {}}, "#/anyOf: {}; must be a list"),
        ({"allOf": [{}, {}]}, "#/allOf: more than one schema"),
        ({"items": 3}, "#/items: 3; must be an object, true or false"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "#/oneOf: options 0 and 1 may both hold"),
        ({"oneOf": [{}, {"type": "null"}]}, "#/oneOf: options 0 and 1 may both hold"),
        ({"oneOf": [{"type": "string"}, {"enum": [3, "a"]}]}, "#/oneOf: options 0 and 1 may both hold"),
        ({"oneOf": [{"properties": {"a": {"const": 1}}, "type": "object"}] * 2}, "#/oneOf: options 0 and 1"),
        ([], "#: \\[\\]; must be an object, true or false"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_its_name_and_place(schema: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^schema {message}") as refused:
        json_schema(schema)
    assert "\n" not in str(refused.value)


def test_one_of_takes_options_that_exclude_each_other(walk: Walk) -> None:
    def kind(name: str, **more: Any) -> dict[str, Any]:
        properties = {"kind": {"const": name}, **more}
        return {"type": "object", "properties": properties, "required": ["kind"]}

    closed = {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False}
    other = {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}
    for options in (
        [kind("x", size={"type": "integer"}), kind("y"), {"type": "string"}],
        [closed, other],
        [{"const": 1}, {"enum": [2, "1"]}, {"anyOf": [{"type": "null"}, {"type": "array"}]}],
        [{"$ref": "#/$defs/s"}, {"type": "object"}],
    ):
        schema = {"oneOf": options, "$defs": {"s": {"type": "string"}}}
        automaton, draw = ByteAutomaton(json_schema(schema)), random.Random(8)
        for _ in range(40):
            jsonschema.validate(json.loads(walk(automaton, draw)), schema)
