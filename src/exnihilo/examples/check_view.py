"""The findings of a check, for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from exnihilo.examples.check import Lengths, Report
from exnihilo.examples.render_view import coloured_text, marked_text
from exnihilo.tokenizer.template import Renderer

_LINES_NAMED = 8


def format_report(report: Report) -> str:
    """The counts as lines of plain text."""
    return "\n".join(_lines(report))


def print_report(report: Report, renderer: Renderer, out: TextIO | None = None) -> None:
    """Print the counts and the shown conversations: in colour on a terminal, else with `[[ ]]` around what is
    trained. Any renderer will do to show them, with `bpe.byte_tokenizer` where there is no tokenizer yet."""
    out = out or sys.stdout
    print(format_report(report), file=out)
    for number, conversation in enumerate(report.shown, start=1):
        print(f"\nexample {number}, as it is trained:", file=out)
        if out.isatty():
            from rich.console import Console

            Console(file=out).print(coloured_text(conversation, renderer), soft_wrap=True)
        else:
            print(marked_text(conversation, renderer), file=out)


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.path}: {report.format}"
    yield (
        f"{report.conversations:,} conversations in {report.rows:,} rows, {report.messages:,} messages, "
        + (f"{report.answers:,} answers")
    )
    if report.lengths is not None and report.lengths.tokens:
        yield from _length_lines(report.lengths)
    yield from _findings("bad rows, left out", report.problems)
    yield from _findings("worth a look", report.oddities)
    if report.duplicates:
        yield f"{len(report.duplicates):,} rows equal to an earlier one: {_named(report.duplicates)}"
    for file, lines in report.overlaps.items():
        yield f"{len(lines):,} rows ask what {file} asks, so that it is no test any more: {_named(lines)}"
    if not (report.problems or report.oddities or report.duplicates or report.overlaps):
        yield "no bad rows, nothing unusual"


def _length_lines(lengths: Lengths) -> Iterator[str]:
    total = sum(lengths.tokens)
    yield (
        f"{total:,} tokens, {lengths.trained:,} trained ({lengths.trained / total:.0%}); a conversation "
        f"has {lengths.quantile(0.5):,} (median), {lengths.quantile(0.95):,} (95 % have no more), at most "
        f"{max(lengths.tokens):,}"
    )
    if lengths.context is not None:
        number = len(lengths.tokens)
        yield (
            f"in {lengths.context:,} tokens {number - lengths.cut - lengths.dropped:,} fit whole, "
            f"{lengths.cut:,} are cut between turns into {lengths.parts:,} parts ({lengths.lost:,} messages are in "
            f"none), {lengths.dropped:,} are dropped ({lengths.dropped / number:.1%})"
        )


def _findings(title: str, findings: Mapping[str, Sequence[int]]) -> Iterator[str]:
    if findings:
        yield f"{title}: {sum(map(len, findings.values())):,}"
    for finding, lines in sorted(findings.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"  {len(lines):,} × {finding}: {_named(lines)}"


def _named(lines: Sequence[int]) -> str:
    more = f" and {len(lines) - _LINES_NAMED:,} more" if len(lines) > _LINES_NAMED else ""
    return f"line{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:_LINES_NAMED]))}{more}"
