"""Numbers in replies: the last one counts, whatever it is written like."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-\N{MINUS SIGN}+]?)\s?[$€£]?(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?P<part>\.\d+)?"
    r"(?P<exponent>[eE][-+]?\d{1,3}(?!\d))?(?:\s?/\s?(?P<below>\d+))?"
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}|####\s*([^\n]*)")
TOLERANCE = Fraction(1, 10**6)
"""Relative difference up to which two decimal fractions are the same number."""


def final_number(reply: str) -> str | None:
    """The last number of what the reply marks as its answer (`\\boxed{…}`, `#### …`), or else of all of it."""
    marked = _BOXED.findall(reply)
    if marked:
        reply = next(part for part in marked[-1] if part or part == marked[-1][-1])
    found = [match[0].strip() for match in _NUMBER.finditer(reply) if match["whole"] or match["part"]]
    return found[-1] if found else None


def number(text: str) -> Fraction | None:
    """The value of a number as people write it: `1,234.5`, `$3`, `-2/3`, `6e3`."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or not (match["whole"] or match["part"]):
        return None
    below = int(match["below"] or 1)
    if not below:
        return None
    value = Fraction(
        f"{(match['whole'] or '0').replace(',', '')}{match['part'] or ''}{match['exponent'] or ''}"
    )
    return value / below * (-1 if match["sign"] in ("-", "\N{MINUS SIGN}") else 1)


def same_number(got: str, expected: str) -> bool:
    """Whether two texts are one number; what is a decimal fraction may be rounded in its seventh digit."""
    left, right = number(got), number(expected)
    if left is None or right is None:
        return False
    exact = "." not in got + expected
    return left == right or (not exact and abs(left - right) <= TOLERANCE * abs(right))
