"""The canonical conversation, and what makes a conversation unfit to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Message:
    """What one speaker says, verbatim; `role` is one of `ROLES`.

    `weight` is what the loss on an answer counts for: 0 leaves it untrained. What others say is never trained.
    """

    role: str
    content: str
    weight: float = 1.0

    def row(self) -> dict[str, Any]:
        """The message in a canonical row; an ordinary weight is not written."""
        said: dict[str, Any] = {"role": self.role, "content": self.content}
        return said if self.weight == 1 else said | {"weight": self.weight}


@dataclass(frozen=True)
class Conversation:
    """Messages in order; `meta` holds the other fields of the row it came from (JSON values)."""

    messages: list[Message]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def tools(self) -> Sequence[Any] | None:
        """The tool definitions that the row came with, for the chat template."""
        tools = self.meta.get("tools")
        return tools if isinstance(tools, list) and tools else None

    def row(self) -> dict[str, Any]:
        """The canonical JSONL row, `{"messages": […], "meta": {…}}`."""
        return {"messages": [message.row() for message in self.messages], "meta": self.meta}


def fault(messages: Sequence[Message]) -> str | None:
    """Why nothing should be learned from these messages, or None."""
    if not messages:
        return "no messages"
    for message in messages:
        if message.role not in ROLES:
            return f"unknown role {message.role!r:.40}"
    if any(message.role == "system" for message in messages[1:]):
        return "a system message that is not the first"
    answers = [message.content for message in messages if message.role == "assistant"]
    if not answers:
        return "no assistant message"
    if not all(answer.strip() for answer in answers):
        return "empty answer"
    return None


def oddities(messages: Sequence[Message]) -> list[str]:
    """What is unusual in messages that can be learned from; each is worth a look when it is frequent."""
    found = []
    roles = [message.role for message in messages if message.role != "system"]
    if roles[0] == "assistant":
        found.append("the assistant speaks first")
    if roles[-1] != "assistant":
        found.append("messages after the last answer (not trained)")
    if ("assistant", "assistant") in pairwise(roles):
        found.append("two answers in a row")
    if any(not message.content.strip() for message in messages if message.role in ("user", "system")):
        found.append("empty user or system message")
    if any(_control_token(message.content) for message in messages):
        found.append("a control token written out, such as <|endoftext|> or </s> (read as plain text)")
    return found


# Of the common model families. Text that ends in one teaches the model to write it out.
_CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "</s>",
    "[INST]",
    "<end_of_turn>",
)


def _control_token(text: str) -> bool:
    return any(token in text for token in _CONTROL_TOKENS)
