"""Strings and numbers of a JSON schema: lengths, patterns, formats and bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from exnihilo.core.errors import ConfigError
from exnihilo.infer.characters import CLASSES, Ranges, class_ranges, complement
from exnihilo.infer.decimals import DIGITS, between, decimals_between
from exnihilo.infer.expressions import EMPTY, NOTHING, Term
from exnihilo.infer.json_formats import FORMATS
from exnihilo.infer.json_text import JsonText
from exnihilo.infer.regex import RegexParser

# Bounds below this have few enough digits to be written digit by digit.
_LARGEST = 10**300


def string(json: JsonText, schema: Mapping[str, Any], where: str) -> Term:
    """A string by `minLength`, `maxLength`, `pattern` and `format`. Raises ConfigError, as all here."""
    low, high = count(schema, "minLength", where) or 0, count(schema, "maxLength", where)
    conditions = []
    if low or high is not None:
        conditions.append(json.x.repeat(json.any_character, low, high))
    if "pattern" in schema:
        conditions.append(_searched(json, schema["pattern"], f"{where}/pattern"))
    if "format" in schema:
        name = schema["format"]
        if not isinstance(name, str) or name not in FORMATS:
            known = ", ".join(FORMATS)
            raise ConfigError(
                f"schema {where}/format: {name!r:.80} is not supported; one of {known}, or a pattern"
            )
        conditions.append(_searched(json, FORMATS[name], f"{where}/format"))
    if high is not None and low > high:
        return NOTHING
    if not conditions:
        return json.any_string
    content = conditions[0]
    for condition in conditions[1:]:
        content = json.x.both(content, condition)
    return json.string(content)


def _searched(json: JsonText, pattern: Any, where: str) -> Term:
    """Strings in which the pattern is found somewhere, as `pattern` means it."""
    if not isinstance(pattern, str):
        raise ConfigError(f"schema {where}: {pattern!r:.80}; must be a text")
    anything = json.x.repeat(json.any_character)
    try:
        branches = RegexParser(pattern, json.x, json.characters, _classes()).branches()
    except ConfigError as error:
        raise ConfigError(f"schema {where}: {error}") from error
    return json.x.either(
        *(
            json.x.chain(
                EMPTY if branch.starts else anything, branch.term, EMPTY if branch.ends else anything
            )
            for branch in branches
        )
    )


@cache
def _classes() -> dict[str, Ranges]:
    r"""What every engine that may check a `pattern` accepts: ASCII for `\d`, beyond Unicode's digits for `\D`."""
    return {letter: class_ranges(letter, ascii=True) for letter in CLASSES} | {
        letter.upper(): complement(class_ranges(letter, ascii=False)) for letter in CLASSES
    }


def number(json: JsonText, schema: Mapping[str, Any], where: str, *, whole: bool) -> Term:
    """A number, or an integer where `whole`, by its bounds."""
    low, above = _bound(schema, "minimum", "exclusiveMinimum", where, max)
    high, below = _bound(schema, "maximum", "exclusiveMaximum", where, min)
    if low is None and high is None:
        return json.any_integer if whole else json.any_number
    if not whole:
        return decimals_between(json.x, low, high, above=above, below=below)
    # Without a bound on that side: as many digits as a double holds, or as the other bound has.
    widest = max(len(str(abs(int(bound)))) for bound in (low, high) if bound is not None)
    limit = 10 ** max(DIGITS, widest) - 1
    least = -limit if low is None else math.floor(low) + 1 if above else math.ceil(low)
    most = limit if high is None else math.ceil(high) - 1 if below else math.floor(high)
    return between(json.x, least, most)


def _bound(
    schema: Mapping[str, Any],
    inclusive: str,
    exclusive: str,
    where: str,
    tighter: Callable[[Decimal, Decimal], Decimal],
) -> tuple[Decimal | None, bool]:
    """The bound on one side, and whether it is itself left out."""
    bounds = []
    for key in (inclusive, exclusive):
        if key not in schema:
            continue
        value = schema[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
            raise ConfigError(f"schema {where}/{key}: {value!r:.80}; must be a number below 1e300")
        # The shortest decimal that is read as this float: what the schema's author wrote.
        bounds.append((Decimal(repr(value)), key == exclusive))
    if len(bounds) < 2:
        return bounds[0] if bounds else (None, False)
    (plain, _), (open_, _) = bounds
    return (open_, True) if tighter(plain, open_) == open_ else (plain, False)


def count(schema: Mapping[str, Any], key: str, where: str) -> int | None:
    """A length or a number of items, None where the schema has none."""
    if key not in schema:
        return None
    value = schema[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or value != value // 1:
        raise ConfigError(f"schema {where}/{key}: {value!r:.80}; must be a whole number, 0 or more")
    return int(value)
