"""Keeps the text of messages from becoming special tokens while a template renders it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from exnihilo.core.errors import Refused

# The three blocks that Unicode reserves for private use: 137,468 characters to find unused ones in.
_PRIVATE = ((0xE000, 0xF900), (0xF0000, 0xFFFFE), (0x100000, 0x10FFFE))


class Shield:
    """Puts a mark character into every literal of a special token that a message holds.

    A mark stands after the first character of each literal. It also stands at either end of a text whose end
    there is part of a literal, since the template may put the rest beside it (`<|us` before another message's
    `er|>`); space at the ends is looked through, since templates trim it. Taking the mark out again gives the
    text back exactly, because `unused` chose a character that occurs nowhere in it.
    """

    def __init__(self, literals: Iterable[str]) -> None:
        self._literals = longest_first = sorted(set(literals), key=len, reverse=True)
        short = [literal for literal in longest_first if len(literal) < 2]
        if short:
            raise Refused(
                f"special token {short[0]!r} is a single character, which any text may hold; rename it"
            )
        self.pattern = "|".join(map(re.escape, longest_first)) or "(?!)"
        """Matches a literal, the longest where several begin, as the tokenizer's own matching does."""
        within = [f"(?<={re.escape(literal[0])})(?={re.escape(literal[1:])})" for literal in longest_first]
        self._within = re.compile("|".join(within) or "(?!)")
        self._heads = tuple({literal[:n] for literal in longest_first for n in range(1, len(literal))})
        self._tails = tuple({literal[n:] for literal in longest_first for n in range(1, len(literal))})

    def cover(self, value: Any, mark: str) -> Any:
        """`value` with every text in it marked; lists and objects are walked through.

        Keys and roles are marked inside only: templates compare them, and write what belongs beside them.
        """
        if isinstance(value, str):
            return self._cover_ends(self._cover_inside(value, mark), mark)
        if isinstance(value, Mapping):
            return {
                self._cover_inside(key, mark): self._cover_inside(item, mark)
                if key == "role" and isinstance(item, str)
                else self.cover(item, mark)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.cover(item, mark) for item in value]
        return value

    def _cover_inside(self, text: str, mark: str) -> str:
        if any(literal in text for literal in self._literals):
            return self._within.sub(mark, text)
        return text

    def _cover_ends(self, text: str, mark: str) -> str:
        bare = text.rstrip()
        if bare.endswith(self._heads):
            text = bare + mark + text[len(bare) :]
        bare = text.lstrip()
        if bare.startswith(self._tails):
            text = text[: len(text) - len(bare)] + mark + bare
        return text


def unused(value: Any, count: int) -> list[str]:
    """`count` private-use characters that no text in `value` holds. Raises Refused if all are taken."""
    taken = set(re.findall("[\ue000-\uf8ff\U000f0000-\U0010ffff]", "".join(_texts(value))))
    free = (chr(code) for block in _PRIVATE for code in range(*block) if chr(code) not in taken)
    found = [character for character, _ in zip(free, range(count), strict=False)]
    if len(found) < count:
        raise Refused(
            "the messages hold every private-use character of Unicode; none is left to mark texts with"
        )
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
