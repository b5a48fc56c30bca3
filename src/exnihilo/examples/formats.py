"""Conversations out of a file in any of the known layouts, which is found out by looking at its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from exnihilo.core.config import nearest
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.examples.conversation import Conversation
from exnihilo.examples.layouts import CONVERSIONS, OTHERS, BadRow, convert, layout_of
from exnihilo.examples.rows import read_rows

FORMATS = tuple(CONVERSIONS)
"""The formats of conversations, by the names that `format` takes."""

_SNIFFED = 100


@dataclass(frozen=True)
class Row:
    """A row of a file: its 1-based line and either a conversation or the problem that it has."""

    line: int
    conversation: Conversation | None
    problem: str | None = None


def sniff(path: Path | str) -> str:
    """The format of a file, from its first 100 rows: one of `FORMATS`, or "preference", "prompts", "text".

    Raises Refused for a file of unknown or mixed layouts, and for what cannot be read.
    """
    read = list(islice(read_rows(path), _SNIFFED))
    rows = [row for row in read if row.value is not None]
    seen: dict[str, int] = {}
    for row in rows:
        layout = layout_of(row.value or {})
        if layout is not None:
            seen.setdefault(layout, row.line)
    if len(seen) == 1:
        return next(iter(seen))
    if seen:
        found = ", ".join(f"{layout} (line {line})" for layout, line in seen.items())
        raise Refused(f"{path}: rows of more than one layout: {found}; part them, or name one with format")
    fields = ", ".join(sorted(rows[0].value or {})) if rows else ""
    looked = f"fields {fields} are of no known layout"
    if not rows:
        looked = f"no row is a JSON object (line {read[0].line}: {read[0].problem})"
    raise Refused(f"{path}: {looked}; rows need {_WANTED}")


def read_conversations(path: Path | str, format: str | None = None) -> Iterator[Row]:
    """Every row of a file, in order, as a conversation or as a problem; `format` is sniffed unless given.

    Raises ConfigError for an unknown format, Refused for a file that holds something else than conversations.
    """
    if format is not None and format not in CONVERSIONS and format not in OTHERS:
        close = nearest(format, FORMATS)
        advice = f"did you mean {close}?" if close else f"use one of {', '.join(FORMATS)}"
        raise ConfigError(f"format: {format!r} is not known; {advice}")
    layout = format or sniff(path)
    if layout in OTHERS:
        raise Refused(f"{path}: {OTHERS[layout]}; conversations need {_WANTED}")
    for row in read_rows(path):
        if row.value is None:
            yield Row(row.line, None, row.problem)
            continue
        try:
            yield Row(row.line, convert(row.value, layout))
        except BadRow as error:
            yield Row(row.line, None, str(error))


_WANTED = "messages, conversations (from, value), instruction and output, or prompt and completion"
