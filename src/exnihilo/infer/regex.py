r"""Regular expressions in the syntax of Python's `re`, as far as they are regular.

Literals, classes, `.`, `\d \w \s` and their opposites, groups, `|`, `* + ? {m,n}`, anchors at the ends, and the
flags `(?a)` and `(?s)` at the beginning. `\d`, `\w` and `\s` mean what they mean to `re`: Unicode, or ASCII with
`(?a)`. A lazy `*?` matches the same texts as `*`. Everything else that `re` knows is refused by name and
position.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from exnihilo.core.errors import ConfigError
from exnihilo.infer.characters import (
    CLASSES,
    EVERY,
    Ranges,
    characters_of,
    class_ranges,
    complement,
    union,
    without,
)
from exnihilo.infer.expressions import Expressions, Pattern, Term

_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HEX = {"x": 2, "u": 4, "U": 8}
# Groups within one another, each some frames of the interpreter's stack of 1,000.
_NESTED = 100
_NOT_REGULAR = {
    "(?=": "a lookahead",
    "(?!": "a lookahead",
    "(?<": "a lookbehind",
    "(?>": "an atomic group",
    "(?(": "a condition",
    "(?P=": "a backreference",
}


def regex(pattern: str) -> Pattern:
    """The texts for which `re.fullmatch(pattern, text)` finds a match.

    Raises ConfigError, with the position, for what `re` does not accept and for what is not regular:
    backreferences, lookaround, word borders, possessive quantifiers, flags other than `a` and `s`.
    """
    expressions = Expressions()
    parser = RegexParser(pattern, expressions, expressions.characters)
    return Pattern(expressions, expressions.either(*(branch.term for branch in parser.branches())))


def choice(options: Sequence[str]) -> Pattern:
    """Exactly one of the given texts. Raises ConfigError where there is none, or one is no Unicode text."""
    if isinstance(options, str) or not options:
        raise ConfigError("choice: give a list of at least one text")
    expressions = Expressions()
    try:
        return Pattern(expressions, expressions.either(*(expressions.literal(text) for text in options)))
    except UnicodeEncodeError as error:
        raise ConfigError(f"choice: half of a surrogate pair in {error.object!r:.80}") from error


def classes_of_re(*, ascii: bool = False) -> dict[str, Ranges]:
    r"""The sets of `\d`, `\D`, `\w`, `\W`, `\s` and `\S`."""
    sets: dict[str, Ranges] = {}
    for letter in CLASSES:
        sets[letter] = class_ranges(letter, ascii=ascii)
        sets[letter.upper()] = complement(sets[letter])
    return sets


@dataclass(frozen=True)
class Branch:
    """One alternative of a whole pattern: its term, and whether `^` and `$` stand at its ends."""

    term: Term
    starts: bool
    ends: bool


class RegexParser:
    """Reads one pattern, left to right.

    `characters` makes the term of one character of a set. `classes` are the sets of `\\d` and its kin, those
    of `re` unless given.
    """

    def __init__(
        self,
        pattern: str,
        expressions: Expressions,
        characters: Callable[[Ranges], Term],
        classes: Mapping[str, Ranges] | None = None,
    ) -> None:
        try:
            with warnings.catch_warnings():
                # "possible nested set": what it may mean in a later Python does not matter here.
                warnings.simplefilter("ignore", FutureWarning)
                re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"regex {pattern!r:.200}: {error}") from error
        except (OverflowError, RecursionError) as error:
            raise ConfigError(f"regex {pattern!r:.200}: {error}; make it smaller") from error
        self._text, self._at, self._nested = pattern, 0, 0
        self._x, self._characters = expressions, characters
        flags = self._flags()
        self._dot = EVERY if "s" in flags else without(EVERY, characters_of("\n"))
        self._classes = classes_of_re(ascii="a" in flags) if classes is None else classes

    def branches(self) -> list[Branch]:
        """The alternatives of the whole pattern."""
        found = [self._branch()]
        while self._took("|"):
            found.append(self._branch())
        return found

    def _branch(self) -> Branch:
        starts = self._took("^") or self._took(r"\A")
        term = self._sequence()
        ends = self._took("$") or self._took(r"\Z")
        if ends and self._text[self._at : self._at + 1] not in ("", "|"):
            raise self._refusal("an anchor that is not at the end")
        return Branch(term, starts, ends)

    def _alternatives(self) -> Term:
        options = [self._sequence()]
        while self._took("|"):
            options.append(self._sequence())
        return self._x.either(*options)

    def _sequence(self) -> Term:
        """Items up to `|`, `)`, an anchor at the end, or the end."""
        items: list[Term] = []
        while self._at < len(self._text) and not self._next_is("|", ")", "$", r"\Z"):
            quantity = self._quantity() if items else None
            if quantity is not None:
                items.append(self._x.repeat(items.pop(), *quantity))
            elif not self._comment():
                items.append(self._item())
        return self._x.chain(*items)

    def _quantity(self) -> tuple[int, int | None] | None:
        """`* + ? {m,n}` and a lazy `?` after it."""
        found = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}", re.ASCII).match(self._text, self._at)
        if found is None or found[0] == "{}":
            return None
        self._at = found.end()
        if found[0] in "*+?":
            quantity = {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[0]]
        else:
            low = int(found[1] or 0)
            quantity = low, (int(found[3]) if found[3] else None) if found[2] else low
        if self._next_is("+"):
            raise self._refusal("a possessive quantifier")
        self._took("?")
        return quantity

    def _comment(self) -> bool:
        if not self._next_is("(?#"):
            return False
        self._at = self._text.index(")", self._at) + 1
        return True

    def _item(self) -> Term:
        start = self._at
        if self._next_is("("):
            return self._group()
        if self._took("["):
            return self._characters(self._set())
        if self._took("."):
            return self._characters(self._dot)
        if self._next_is("^", r"\A"):
            raise self._refusal("an anchor that is not at the beginning")
        if self._took("\\"):
            return self._characters(self._escape(start))
        self._at += 1
        return self._characters(characters_of(self._text[start]))

    def _group(self) -> Term:
        for opening, name in _NOT_REGULAR.items():
            if self._next_is(opening):
                raise self._refusal(name)
        if self._took("(?P<"):
            self._at = self._text.index(">", self._at) + 1
        elif not self._took("(?:"):
            if self._next_is("(?"):
                raise self._refusal("a flag")
            self._took("(")
        if self._nested == _NESTED:
            raise ConfigError(
                f"regex {self._text!r:.80}: over {_NESTED} groups within one another at position {self._at}; "
                "make it flatter"
            )
        self._nested += 1
        term = self._alternatives()
        self._nested -= 1
        if not self._took(")"):
            raise self._refusal("an anchor within a group")
        return term

    def _flags(self) -> str:
        """The letters of `(?…)` at the beginning."""
        found = re.match(r"\(\?([a-zA-Z]+)\)", self._text)
        if found is None:
            return ""
        other = set(found[1]) - set("asu")
        if other:
            raise self._refusal(f"the flag {min(other)!r}")
        self._at = found.end()
        return found[1]

    def _escape(self, start: int) -> Ranges:
        """What follows a backslash outside of a set."""
        letter = self._text[self._at]
        if letter in "bB":
            self._at = start
            raise self._refusal("a word border")
        octal = re.compile(r"0[0-7]{0,2}|[0-7]{3}").match(self._text, self._at)
        if letter.isdecimal() and octal is None:
            self._at = start
            raise self._refusal("a backreference")
        return self._character_escape(octal[0] if octal else "")

    def _character_escape(self, octal: str) -> Ranges:
        """One character or class by its escape, which `re` has found to be valid."""
        letter = self._text[self._at]
        if octal:
            self._at += len(octal)
            return characters_of(chr(int(octal, 8)))
        self._at += 1
        if letter in self._classes:
            return self._classes[letter]
        if letter in _HEX:
            digits = self._text[self._at : self._at + _HEX[letter]]
            self._at += len(digits)
            return characters_of(chr(int(digits, 16)))
        if letter == "N":
            end = self._text.index("}", self._at)
            name, self._at = self._text[self._at + 1 : end], end + 1
            return characters_of(unicodedata.lookup(name))
        return characters_of(_CONTROL.get(letter, letter))

    def _set(self) -> Ranges:
        """What stands after `[`, up to its `]`."""
        negated = self._took("^")
        parts: list[Ranges] = []
        first = True
        while first or not self._next_is("]"):
            first = False
            low = self._set_member()
            if self._next_is("-") and not self._next_is("-]"):
                self._at += 1
                high = self._set_member()
                parts.append(((low[0][0], high[0][0]),))
            else:
                parts.append(low)
        self._at += 1
        inside = union(*parts)
        return complement(inside) if negated else without(inside, ())

    def _set_member(self) -> Ranges:
        if not self._took("\\"):
            self._at += 1
            return characters_of(self._text[self._at - 1])
        if self._took("b"):
            return characters_of("\b")
        octal = re.compile(r"[0-7]{1,3}").match(self._text, self._at)
        return self._character_escape(octal[0] if octal else "")

    def _next_is(self, *texts: str) -> bool:
        return self._text.startswith(texts, self._at)

    def _took(self, text: str) -> bool:
        taken = self._text.startswith(text, self._at)
        self._at += len(text) * taken
        return taken

    def _refusal(self, what: str) -> ConfigError:
        return ConfigError(
            f"regex {self._text!r:.200}: {what} at position {self._at} cannot be decoded under; "
            "only what is regular can: classes, groups, alternatives, quantifiers, anchors at the ends"
        )
