"""A file of conversations, encoded for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exnihilo.core.errors import Refused
from exnihilo.core.workspace import Workspace

if TYPE_CHECKING:
    from exnihilo.examples.conversation import Message
    from exnihilo.tokenizer.template import Renderer

QUESTIONS = 4


@dataclass
class Prepared:
    """Conversations as (ids, mask of trained tokens), and what was left out.

    Attributes:
        left_out: rows by the reason for which nothing of them is trained.
        shortened: conversations that end with the last answer that fits.
        labels: where each conversation comes from: the `family` or `source` of its meta, "" without either.
        questions: the last words and the messages before the first answer, of the first few conversations.
    """

    pairs: list[tuple[list[int], list[bool]]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)
    shortened: int = 0
    questions: list[tuple[str, list[dict[str, str]]]] = field(default_factory=list)

    def told(self) -> str:
        """`3 too long (line 7 first), 1 empty answer (line 20)`."""
        return ", ".join(
            f"{count} {reason} (line {self.first_line[reason]}{' first' if count > 1 else ''})"
            for reason, count in self.left_out.most_common()
        )


def prepare(path: Path, renderer: Renderer, max_length: int, format: str | None, work: Workspace) -> Prepared:
    """Encode every conversation of a file into at most `max_length` tokens, none of its answers cut.

    Rows that are no conversation, that nothing can be learned from or that do not fit are counted, and told.
    """
    from exnihilo.examples.conversation import fault
    from exnihilo.examples.encode import Dropped, encode
    from exnihilo.examples.formats import read_conversations

    prepared = Prepared()

    def leave_out(reason: str, line: int) -> None:
        prepared.left_out[reason] += 1
        prepared.first_line.setdefault(reason, line)

    with work.progress(None, f"encoding {path.name}", "conversations") as bar:
        for row in read_conversations(path, format):
            bar.advance()
            if row.conversation is None:
                leave_out(row.problem or "no conversation", row.line)
                continue
            reason = fault(row.conversation.messages)
            if reason is not None:
                leave_out(reason, row.line)
                continue
            try:
                encoded = encode(row.conversation, renderer, max_length)
            except Refused as error:
                leave_out(str(error), row.line)
                continue
            if isinstance(encoded, Dropped):
                leave_out(encoded.reason, row.line)
                continue
            prepared.pairs.append((encoded.ids, encoded.mask))
            prepared.labels.append(_label(row.conversation.meta))
            prepared.shortened += encoded.left_out > 0
            if len(prepared.questions) < QUESTIONS:
                prepared.questions.append(_question(row.conversation.messages))
    if prepared.left_out:
        rows = sum(prepared.left_out.values())
        message = f"{path.name}: {rows} rows left out: {prepared.told()}"
        work.event("left_out", rows=rows, reasons=dict(prepared.left_out), message=message)
    if prepared.shortened:
        message = (
            f"{path.name}: {prepared.shortened} conversations of more than {max_length} tokens were shortened"
        )
        work.event("shortened", conversations=prepared.shortened, message=message)
    return prepared


def _label(meta: Mapping[str, Any]) -> str:
    found = (meta.get(key) for key in ("family", "source"))
    return next((name for name in found if isinstance(name, str)), "")


def _question(messages: list[Message]) -> tuple[str, list[dict[str, str]]]:
    asked = []
    for message in messages:
        if message.role == "assistant":
            break
        asked.append({"role": message.role, "content": message.content})
    return asked[-1]["content"] if asked else "", asked
