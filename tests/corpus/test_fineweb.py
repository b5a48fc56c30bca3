"""FineWeb's rules, in the variant of its code and that of its paper."""

from __future__ import annotations

import pytest

from exnihilo.corpus.checks import first_rejection
from exnihilo.corpus.fineweb import fineweb_quality
from exnihilo.corpus.fineweb_config import FineWebLimits
from exnihilo.corpus.text_batch import TextBatch

OFF = {
    "min_finished_lines": None,
    "max_short_lines": None,
    "max_repeated_characters": None,
    "max_line_feeds": None,
}
PAPER = {"max_repeated_characters": 0.1, "max_line_feeds": None}


def why(text: str, **limits: object) -> str | None:
    checks = fineweb_quality(TextBatch.of(["", text]), FineWebLimits(**limits))  # type: ignore[arg-type]
    number = int(first_rejection(checks, 2)[1])
    return checks[number].reason if number >= 0 else None


@pytest.mark.parametrize(
    ("limit", "kept", "rejected", "reason"),
    [
        ({"min_finished_lines": 0.5}, "one.\n\n\ntwo", "one.\ntwo\nthree,", "unfinished lines"),
        ({"max_short_lines": 0.5, "short_line": 3}, "one\nlonger", "one\ntwo\nlonger", "short lines"),
        ({"max_repeated_characters": 0.4}, "abcd\nabcd\nef", "abcd\nabcd\ne", "characters of repeated lines"),
        ({"max_line_feeds": 0.5}, "one two\n", "one two\n\n", "line feeds"),
    ],
)
def test_each_rule_on_both_sides_of_its_limit(
    limit: dict[str, float], kept: str, rejected: str, reason: str
) -> None:
    assert why(kept, **(OFF | limit)) is None
    assert why(rejected, **(OFF | limit)) == f"fineweb: {reason}"


def test_the_variants_differ_on_a_text_with_a_twentieth_of_repeated_characters() -> None:
    lines = [f"This is line number {i} of a text that goes on for a while." for i in range(38)]
    text = "\n".join([*lines, lines[0], lines[1]])
    assert why(text) == "fineweb: characters of repeated lines"
    assert why(text, **PAPER) is None


def test_nothing_is_divided_by_nothing() -> None:
    assert why("", **(OFF | {"max_line_feeds": 0, "max_short_lines": 0})) is None
    assert why("\n \n", **(OFF | {"max_repeated_characters": 0})) is None
