"""How JSON is written under a constraint: one spelling for every value, and any value down to a depth.

One optional space stands after each comma and colon, so that both `json.dumps(value)` and its compact form can
be written, and no other white space. In strings every character stands for itself but `"`, `\\` and control
characters, which have their shortest escape. Numbers have at most 15 digits before the point, 15 after it and
a two-digit exponent: what a double holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from exnihilo.core.errors import ConfigError
from exnihilo.infer.characters import EVERY, Ranges, characters_of, without
from exnihilo.infer.decimals import DIGITS, between, digits
from exnihilo.infer.expressions import EMPTY, Expressions, Pattern, Term

DEPTH = 32
"""Arrays and objects within one another in a value that no schema bounds."""

_ESCAPED: Ranges = ((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C))
_ANY = "any value"


def json_object(*, depth: int = DEPTH) -> Pattern:
    """Any JSON object, with at most `depth` arrays and objects within it and one another."""
    x = Expressions()
    json = JsonText(x)
    return Pattern(x, json.object_of_any(depth))


class JsonText:
    """Terms of JSON in one table of expressions."""

    def __init__(self, x: Expressions) -> None:
        self.x = x
        self._characters: dict[Ranges, Term] = {}
        self.comma = x.chain(x.literal(","), x.optional(x.literal(" ")))
        self.colon = x.chain(x.literal(":"), x.optional(x.literal(" ")))
        self.null = x.literal("null")
        self.boolean = x.either(x.literal("true"), x.literal("false"))
        self.any_character = self.characters(EVERY)
        self.any_string = self.string(x.repeat(self.any_character))
        self.any_integer = between(x, -(10**DIGITS) + 1, 10**DIGITS - 1)
        self.any_number = self._number()
        x.define(_ANY, self._any)

    def characters(self, ranges: Ranges) -> Term:
        """One character of a set as it stands in a string."""
        if ranges not in self._characters:
            self._characters[ranges] = self._spelled(ranges)
        return self._characters[ranges]

    def _spelled(self, ranges: Ranges) -> Term:
        plain = self.x.characters(without(ranges, _ESCAPED))
        escapes = self.x.words(
            [
                json.dumps(chr(code))[1:-1].encode()
                for first, last in _ESCAPED
                for code in range(first, last + 1)
                if any(low <= code <= high for low, high in ranges)
            ]
        )
        return self.x.either(plain, escapes)

    def string(self, content: Term) -> Term:
        """Quotation marks around what stands in them."""
        quote = self.x.literal('"')
        return self.x.chain(quote, content, quote)

    def literal(self, value: Any, where: str) -> Term:
        """Exactly this value. Raises ConfigError for one that JSON does not have."""
        x = self.x
        if isinstance(value, Mapping):
            members = [
                x.chain(self.literal(str(key), where), self.colon, self.literal(member, where))
                for key, member in value.items()
            ]
            return x.chain(x.literal("{"), self._joined(members), x.literal("}"))
        if isinstance(value, (list, tuple)):
            items = [self.literal(item, where) for item in value]
            return x.chain(x.literal("["), self._joined(items), x.literal("]"))
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where}: {value} is no JSON value; leave it out")
        try:
            return x.literal(json.dumps(value, ensure_ascii=False))
        except (TypeError, UnicodeEncodeError) as error:
            raise ConfigError(f"{where}: {value!r:.80} is no JSON value ({error}); leave it out") from error

    def array(self, first: Sequence[Term], rest: Term, low: int, high: int | None) -> Term:
        """An array of `low` to `high` items: those of `first`, then any number of `rest`."""
        x, count = self.x, len(first)
        most = None if high is None else max(high - count, 0)
        following = x.repeat(x.chain(self.comma, rest), max(low - count, 0), most)
        if count == 0:
            most = None if most is None else most - 1
            items = (
                EMPTY
                if high == 0
                else x.chain(rest, x.repeat(x.chain(self.comma, rest), max(low - 1, 0), most))
            )
            items = items if low else x.optional(items)
        else:
            items = following
            for i in reversed(range(count)):
                if high is not None and i >= high:
                    items = EMPTY
                    continue
                items = x.chain(self.comma if i else EMPTY, first[i], items)
                items = items if i < low else x.optional(items)
        return x.chain(x.literal("["), items, x.literal("]"))

    def object(self, members: Sequence[tuple[str, Term, bool]], others: Term) -> Term:
        """An object of `(key, value, required)` in this order, then any number of `others` (with their keys)."""
        x = self.x
        # What may follow a member, and what may come first.
        following = x.repeat(x.chain(self.comma, others))
        first = x.optional(x.chain(others, following))
        for key, value, required in reversed(members):
            member = x.chain(self.literal(key, key), self.colon, value)
            starting = x.chain(member, following)
            first = starting if required else x.either(starting, first)
            next_ = x.chain(self.comma, member)
            following = x.chain(next_ if required else x.optional(next_), following)
        return x.chain(x.literal("{"), first, x.literal("}"))

    def member(self, key: Term, value: Term) -> Term:
        """A key, a string that is a term itself, and its value."""
        return self.x.chain(key, self.colon, value)

    def other_string(self, texts: Sequence[str]) -> Term:
        """Any string but these."""
        return self.string(self._other(set(texts)))

    def _other(self, texts: set[str]) -> Term:
        x = self.x
        first = sorted({text[0] for text in texts if text})
        different = self.characters(without(EVERY, characters_of("".join(first))))
        options = [x.chain(different, x.repeat(self.any_character))]
        for character in first:
            rest = {text[1:] for text in texts if text.startswith(character)}
            options.append(x.chain(self.characters(characters_of(character)), self._other(rest)))
        return x.either(*options, *([] if "" in texts else [EMPTY]))

    def any_value(self, depth: int) -> Term:
        """Any value with at most `depth` arrays and objects within one another."""
        return self.x.rule(_ANY, depth)

    def object_of_any(self, depth: int) -> Term:
        """Any object with at most `depth` arrays and objects within it and one another."""
        return self.object([], self.member(self.any_string, self.any_value(depth)))

    def _any(self, depth: int) -> Term:
        scalars = (self.any_string, self.any_number, self.boolean, self.null)
        if depth == 0:
            return self.x.either(*scalars)
        return self.x.either(
            *scalars, self.array([], self.any_value(depth - 1), 0, None), self.object_of_any(depth - 1)
        )

    def _number(self) -> Term:
        x = self.x
        whole = between(x, 0, 10**DIGITS - 1)
        fraction = x.chain(x.literal("."), digits(x, 1, DIGITS))
        exponent = x.chain(
            x.characters(characters_of("eE")), x.optional(x.characters(characters_of("+-"))), digits(x, 1, 2)
        )
        return x.chain(x.optional(x.literal("-")), whole, x.optional(fraction), x.optional(exponent))

    def _joined(self, parts: Sequence[Term]) -> Term:
        return self.x.chain(
            *(part for i, item in enumerate(parts) for part in ((self.comma, item) if i else (item,)))
        )
