"""What a file of conversations holds, and what is wrong with it, before anything is trained on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from exnihilo.core.errors import Refused
from exnihilo.examples.conversation import Conversation, oddities
from exnihilo.examples.encode import Dropped, encode_parts, token_weights
from exnihilo.examples.formats import read_conversations, sniff
from exnihilo.examples.overlap import Evaluation
from exnihilo.tokenizer.template import Renderer

SHOWN = 3
"""So many conversations are kept to be shown."""


@dataclass
class Lengths:
    """Lengths in tokens of the conversations, and what a context does to them.

    Attributes:
        trained: tokens whose loss counts.
        cut: conversations that are cut between turns, into `parts` in all; `lost` of their messages are in none.
        dropped: conversations of which nothing is left.
    """

    tokens: list[int] = field(default_factory=list)
    trained: int = 0
    context: int | None = None
    cut: int = 0
    parts: int = 0
    lost: int = 0
    dropped: int = 0

    def quantile(self, q: float) -> int:
        """The length that a share `q` of the conversations does not exceed."""
        return int(np.quantile(self.tokens, q, method="inverted_cdf"))


@dataclass
class Report:
    """The findings of `check`. Lines are 1-based; `problems` name rows that are left out, `oddities` rows
    that are used and deserve a look, `duplicates` rows equal to an earlier one, `overlaps` rows that ask what an
    evaluation set asks, by its file."""

    path: str
    format: str
    rows: int = 0
    messages: int = 0
    answers: int = 0
    problems: dict[str, list[int]] = field(default_factory=dict)
    oddities: dict[str, list[int]] = field(default_factory=dict)
    duplicates: list[int] = field(default_factory=list)
    overlaps: dict[str, list[int]] = field(default_factory=dict)
    lengths: Lengths | None = None
    shown: list[Conversation] = field(default_factory=list)

    @property
    def conversations(self) -> int:
        """The rows that can be learned from."""
        return self.rows - sum(map(len, self.problems.values()))


def check(
    path: Path | str,
    *,
    renderer: Renderer | None = None,
    context: int | None = None,
    format: str | None = None,
    against: Evaluation | None = None,
) -> Report:
    """Read a whole file and count. With a renderer lengths are measured, against `context` tokens where
    given. Questions are looked up in the evaluation sets `against`.

    Raises ConfigError for an unknown format, Refused for a file that cannot be read or holds no
    conversations.
    """
    report = Report(str(path), format or sniff(path))
    if renderer is not None:
        report.lengths = Lengths(context=context)
    seen: set[bytes] = set()
    for row in read_conversations(path, report.format):
        report.rows += 1
        problem = row.problem
        if row.conversation is not None:
            problem = _add(report, row.conversation, row.line, renderer)
            _note_duplicate(report, row.conversation, row.line, seen)
            shared = None if against is None else against.shared(row.conversation)
            if shared is not None:
                report.overlaps.setdefault(shared, []).append(row.line)
        if problem is not None:
            report.problems.setdefault(problem, []).append(row.line)
    return report


def _add(report: Report, conversation: Conversation, line: int, renderer: Renderer | None) -> str | None:
    """Count a conversation; return the problem that the chat template has with it."""
    if renderer is not None and report.lengths is not None:
        try:
            _measure(report.lengths, conversation, renderer)
        except Refused as error:
            return str(error)
    report.messages += len(conversation.messages)
    report.answers += sum(message.role == "assistant" for message in conversation.messages)
    for oddity in oddities(conversation.messages):
        report.oddities.setdefault(oddity, []).append(line)
    if len(report.shown) < SHOWN:
        report.shown.append(conversation)
    return None


def _measure(lengths: Lengths, conversation: Conversation, renderer: Renderer) -> None:
    rendered = renderer.render(conversation.messages, conversation.tools)
    lengths.tokens.append(len(rendered.ids))
    lengths.trained += sum(weight > 0 for weight in token_weights(conversation.messages, rendered))
    if lengths.context is not None and len(rendered.ids) > lengths.context:
        found = encode_parts(conversation, renderer, lengths.context)
        if isinstance(found, Dropped):
            lengths.dropped += 1
        else:
            lengths.cut += 1
            lengths.parts += len(found.parts)
            lengths.lost += found.left_out


def _note_duplicate(report: Report, conversation: Conversation, line: int, seen: set[bytes]) -> None:
    spoken = [(message.role, message.content) for message in conversation.messages]
    digest = blake3(json.dumps(spoken).encode()).digest()
    if digest in seen:
        report.duplicates.append(line)
    seen.add(digest)


def as_json(report: Report) -> dict[str, Any]:
    """The report for machines: everything but the shown conversations."""
    found = {key: value for key, value in vars(report).items() if key not in ("shown", "lengths")}
    found["conversations"] = report.conversations
    lengths = report.lengths
    if lengths is not None and lengths.tokens:
        found["tokens"] = {
            "total": sum(lengths.tokens),
            "trained": lengths.trained,
            "median": lengths.quantile(0.5),
            "p95": lengths.quantile(0.95),
            "longest": max(lengths.tokens),
            "context": lengths.context,
            "cut": lengths.cut,
            "parts": lengths.parts,
            "lost": lengths.lost,
            "dropped": lengths.dropped,
        }
    return found
