"""A file of conversations, encoded for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
    """Conversations as (ids, weight of each token's loss), and what was left out.

    Attributes:
        left_out: rows by the reason for which nothing of them is trained.
        cut: conversations that were too long, and were cut between turns; each part counts as a conversation.
        lost: their messages that are in no part.
        labels: where each conversation comes from: the `family` or `source` of its meta, "" without either.
        questions: the last words and the messages before the first answer, of the first few conversations.
    """

    pairs: list[tuple[list[int], Sequence[float]]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    lost: int = 0
    questions: list[tuple[str, list[dict[str, str]]]] = field(default_factory=list)

    def told(self) -> str:
        """`3 too long (line 7 first), 1 empty answer (line 20)`."""
        return ", ".join(
            f"{count} {reason} (line {self.first_line[reason]}{' first' if count > 1 else ''})"
            for reason, count in self.left_out.most_common()
        )


def prepare(path: Path, renderer: Renderer, max_length: int, format: str | None, work: Workspace) -> Prepared:
    """Encode every conversation of a file into parts of at most `max_length` tokens, none of its answers cut.

    Rows that are no conversation, that nothing can be learned from or that do not fit are counted, and told.
    """
    from exnihilo.examples.conversation import fault
    from exnihilo.examples.encode import Dropped, encode_parts
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
                encoded = encode_parts(row.conversation, renderer, max_length)
            except Refused as error:
                leave_out(str(error), row.line)
                continue
            if isinstance(encoded, Dropped):
                leave_out(encoded.reason, row.line)
                continue
            prepared.pairs += [(part.ids, part.weights) for part in encoded.parts]
            prepared.labels += [_label(row.conversation.meta)] * len(encoded.parts)
            if len(encoded.parts) > 1 or encoded.left_out:
                prepared.cut += 1
                prepared.lost += encoded.left_out
            if len(prepared.questions) < QUESTIONS:
                prepared.questions.append(_question(row.conversation.messages))
    if prepared.left_out:
        rows = sum(prepared.left_out.values())
        message = f"{path.name}: {rows} rows left out: {prepared.told()}"
        work.event("left_out", rows=rows, reasons=dict(prepared.left_out), message=message)
    if prepared.cut:
        message = (
            f"{path.name}: {prepared.cut} conversations of more than {max_length} tokens were cut between turns; "
            f"{prepared.lost} of their messages are in no part"
        )
        work.event("cut", conversations=prepared.cut, lost=prepared.lost, message=message)
    return prepared


def weighted(prepared: Prepared, weights: Mapping[str, float], where: Path) -> None:
    """Multiply what the loss on each conversation counts for by the weight of its source; sources of weight 0 go.

    Raises Refused for a weight of a source that no conversation is from, and where nothing is left.
    """
    there = sorted(set(prepared.labels))
    for source in weights:
        if source not in there:
            named = ", ".join(label or "(none)" for label in there[:8])
            raise Refused(
                f"{where}: weights: no conversation is from {source!r}; family or source there: {named}"
            )
    kept = [
        ((ids, own if factor == 1 else [factor * weight for weight in own]), label)
        for (ids, own), label in zip(prepared.pairs, prepared.labels, strict=True)
        if (factor := weights.get(label, 1.0)) > 0
    ]
    if not kept:
        raise Refused(f"{where}: weights: every source has weight 0; give one of them more")
    prepared.pairs = [pair for pair, _ in kept]
    prepared.labels = [label for _, label in kept]


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
