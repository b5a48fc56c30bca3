"""Quality filters: measures of one text, and the limits beyond which it is rejected.

Where there is one, a measure follows Gopher's quality and repetition rules (arXiv 2112.11446, Table A1),
restated for any script and for source code: sizes in bytes, letters by Unicode category, no stop words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from pydantic import Field

from exnihilo.core.config import Config, Count, why


class FilterConfig(Config):
    """Limits; a text exactly at a limit is kept, and null turns a filter off."""

    min_bytes: Count | None = Field(
        default=24,
        ge=0,
        description="least bytes of UTF-8 without surrounding white space",
        json_schema_extra=why(
            "24: shorter texts are titles and leftovers. Bytes and not words, so that it holds in any script",
            example="200",
        ),
    )
    max_line_length: float | None = Field(
        default=20_000,
        ge=0,
        description="longest mean line, in characters: above it are blobs and tables on one line",
        json_schema_extra=why(
            "20,000 characters on a mean line are minified code, tables and encoded data, never prose; "
            "prose without line ends stays"
        ),
    )
    min_letters: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="least share of letters (of any script) in what is not white space",
        json_schema_extra=why(
            "0.4 leaves room for source code, whose brackets and operators count against it; Gopher, "
            "made for prose, asks that 80 % of words have a letter (arXiv 2112.11446)"
        ),
    )
    max_digits: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="largest share of digits in what is not white space: above it are data tables",
        json_schema_extra=why("0.4: code and prose are far below it, tables of numbers far above"),
    )
    max_hexadecimal: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="largest share of hexadecimal numbers and escapes: above it is generated data",
        json_schema_extra=why("0.4: a text with a key or a hash stays, one that is mostly encoded data goes"),
    )
    max_duplicate_lines: float | None = Field(
        default=0.7,
        ge=0,
        le=1,
        description="largest share of lines that repeat an earlier line of the same text",
        json_schema_extra=why(
            "0.7: above Gopher's 0.3 (arXiv 2112.11446), since source code rightly repeats short lines"
        ),
    )
    max_replacement: float | None = Field(
        default=0.002,
        ge=0,
        le=1,
        description="largest share of U+FFFD, which marks text that was decoded wrongly",
        json_schema_extra=why(
            "0.002: one character in five hundred that could not be decoded means that all of the text "
            "was read in a wrong encoding"
        ),
    )


@dataclass(frozen=True)
class Rule:
    """A measure, the key of its limit, and which side of the limit is rejected."""

    key: str
    reason: str
    measure: Callable[[str], float]
    is_minimum: bool = False

    def rejects(self, text: str, limit: float) -> bool:
        value = self.measure(text)
        return value < limit if self.is_minimum else value > limit


def rejection(text: str, limits: FilterConfig) -> str | None:
    """The reason code of the first filter that rejects a text, or None if it passes all of them."""
    for rule in RULES:
        limit = getattr(limits, rule.key)
        if limit is not None and rule.rejects(text, limit):
            return rule.reason
    return None


def size(text: str) -> float:
    """Bytes of UTF-8 without surrounding white space."""
    return len(text.strip().encode("utf-8"))


def mean_line_length(text: str) -> float:
    """Mean characters of the lines that are not blank; 0 where there is none."""
    lines = content_lines(text)
    return sum(map(len, lines)) / len(lines) if lines else 0.0


def letter_share(text: str) -> float:
    """Letters and the marks on them, as a share of what is not white space; 0 of nothing."""
    return _share(text, lambda character: unicodedata.category(character)[0] in "LM")


def digit_share(text: str) -> float:
    """Digits and other numerals, as a share of what is not white space; 0 of nothing."""
    return _share(text, lambda character: unicodedata.category(character)[0] == "N")


def replacement_share(text: str) -> float:
    """U+FFFD as a share of what is not white space; 0 of nothing."""
    return _share(text, lambda character: character == "\ufffd")


def hexadecimal_share(text: str) -> float:
    """Characters in hexadecimal numbers (0x1f, deadbeef01) and escapes (\\x1f, \\u00e9), as a share of what
    is not white space; 0 of nothing."""
    solid = sum(map(len, text.split()))
    return sum(len(match) for match in _HEXADECIMAL.findall(text)) / solid if solid else 0.0


def duplicate_line_share(text: str) -> float:
    """Lines that repeat an earlier one, as a share of the lines that are not blank; 0 where there is none."""
    lines = content_lines(text)
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def content_lines(text: str) -> list[str]:
    """The lines that are not blank, without surrounding white space."""
    return [line for line in map(str.strip, text.split("\n")) if line]


def _share(text: str, wanted: Callable[[str], bool]) -> float:
    counts = _solid_characters(text)
    total = counts.total()
    return sum(count for character, count in counts.items() if wanted(character)) / total if total else 0.0


@lru_cache(maxsize=1)
def _solid_characters(text: str) -> Counter[str]:
    # Counting first asks for each distinct character once, and several measures of a text share the counts.
    counts = Counter(text)
    return Counter({character: count for character, count in counts.items() if not character.isspace()})


# A run of eight or more hexadecimal digits counts if it mixes letters and digits: "effaced" is a word.
_HEXADECIMAL = re.compile(
    r"\b0[xX][0-9a-fA-F]+\b|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
    r"|\b(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b"
)

RULES = (
    Rule("min_bytes", "too short", size, is_minimum=True),
    Rule("max_replacement", "wrongly decoded", replacement_share),
    Rule("max_line_length", "lines too long", mean_line_length),
    Rule("max_hexadecimal", "hexadecimal data", hexadecimal_share),
    Rule("max_digits", "mostly digits", digit_share),
    Rule("min_letters", "too few letters", letter_share, is_minimum=True),
    Rule("max_duplicate_lines", "repeated lines", duplicate_line_share),
)
