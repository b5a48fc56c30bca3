"""Conversations from one layout to another: what reads them here, and what other programs want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.examples.conversation import Conversation, Message
from exnihilo.examples.formats import read_conversations


@dataclass
class Converted:
    """How many rows were written, and what was left out, with the first line of each reason."""

    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, line: int) -> None:
        """Count a row that is not written."""
        self.left_out[reason] += 1
        self.first.setdefault(reason, line)


class Unfit(ValueError):
    """A conversation that a layout has no place for; the message says why."""


def convert(source: Path, target: Path, layout: str, *, format: str | None = None) -> Converted:
    """Write the conversations of a file in another layout, a key of `LAYOUTS`. What reads the result here reads the
    same messages and the same meta.

    Rows that are no conversations, or that the layout can't hold, are left out and counted. Raises ConfigError for an
    unknown layout or a target that is there already, Refused where nothing could be written.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"--to: {layout!r} is not known; use one of {', '.join(LAYOUTS)}")
    if target.exists():
        raise ConfigError(f"{target}: is there already; give a path where nothing is")
    done = Converted()
    write_jsonl(target, _rows(source, layout, format, done))
    if not done.rows:
        target.unlink()
        reasons = ", ".join(f"{count} {reason}" for reason, count in done.left_out.most_common(3))
        raise Refused(f"{source}: nothing to write ({reasons}); exnihilo data check {source} shows more")
    return done


def _rows(source: Path, layout: str, format: str | None, done: Converted) -> Iterator[dict[str, Any]]:
    for row in read_conversations(source, format):
        if row.conversation is None:
            done.leave_out(row.problem or "no conversation", row.line)
            continue
        try:
            converted = LAYOUTS[layout](row.conversation)
        except Unfit as error:
            done.leave_out(str(error), row.line)
            continue
        done.rows += 1
        yield converted


def _sharegpt(conversation: Conversation) -> dict[str, Any]:
    names = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}
    turns = [
        {"from": names[one.role], "value": one.content, **({} if one.weight == 1 else {"weight": one.weight})}
        for one in conversation.messages
    ]
    return {"conversations": turns, **_meta(conversation)}


def _alpaca(conversation: Conversation) -> dict[str, Any]:
    system, pairs = _pairs(conversation)
    (asked, answer), history = pairs[-1], pairs[:-1]
    row: dict[str, Any] = {"instruction": asked, "input": "", "output": answer}
    if system is not None:
        row["system"] = system
    if history:
        row["history"] = [list(pair) for pair in history]
    return {**row, **_meta(conversation)}


def _prompt_completion(conversation: Conversation) -> dict[str, Any]:
    system, pairs = _pairs(conversation)
    if len(pairs) > 1:
        raise Unfit("more than one answer, and this layout holds one")
    ((asked, answer),) = pairs
    row = {"prompt": asked, "completion": answer}
    return {**({} if system is None else {"system": system}), **row, **_meta(conversation)}


def _pairs(conversation: Conversation) -> tuple[str | None, list[tuple[str, str]]]:
    """The system message, and questions with their answers. Raises Unfit where turns do not alternate or answers
    have weights."""
    messages = list(conversation.messages)
    if any(one.weight != 1 for one in messages):
        raise Unfit("answers with weights, which this layout does not hold")
    system = messages.pop(0).content if messages[0].role == "system" else None
    roles = [one.role for one in messages]
    if len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise Unfit("turns that do not go user, assistant, user, assistant")
    return system, [(asked.content, answer.content) for asked, answer in _by_two(messages)]


def _by_two(messages: list[Message]) -> Iterator[tuple[Message, Message]]:
    return zip(messages[::2], messages[1::2], strict=True)


def _meta(conversation: Conversation) -> dict[str, Any]:
    return {"meta": conversation.meta} if conversation.meta else {}


LAYOUTS: dict[str, Callable[[Conversation], dict[str, Any]]] = {
    "messages": Conversation.row,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "prompt-completion": _prompt_completion,
}
"""What conversations can be written as."""
