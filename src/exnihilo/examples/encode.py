"""A conversation as the token ids that are trained on, within a length."""

from __future__ import annotations

from dataclasses import dataclass

from exnihilo.examples.conversation import Conversation
from exnihilo.tokenizer.template import Renderer


@dataclass(frozen=True)
class Encoded:
    """Ids, and for each whether it is trained; `left_out` is the number of messages that did not fit."""

    ids: list[int]
    mask: list[bool]
    left_out: int = 0


@dataclass(frozen=True)
class Dropped:
    """A conversation of which nothing is trained, and why: "too long" or "no answer"."""

    reason: str


def encode(conversation: Conversation, renderer: Renderer, max_length: int) -> Encoded | Dropped:
    """Render a conversation into at most `max_length` tokens.

    A longer one ends with the last answer that fits whole: no answer is ever cut, so no end token follows
    words that were not its answer's last. If not even the first answer fits, the conversation is dropped.

    Raises Refused for messages that the chat template does not take.
    """
    rendered = renderer.render(conversation.messages, conversation.tools)
    if not any(rendered.mask):
        return Dropped("no answer")
    if len(rendered.ids) <= max_length:
        return Encoded(rendered.ids, rendered.mask)
    count = len(conversation.messages)
    ends = [n for n, message in enumerate(conversation.messages, start=1) if message.role == "assistant"]
    best: Encoded | None = None
    # Each further answer makes the beginning longer, so the longest that fits is found by halving.
    low, high = 0, len(ends) - (ends[-1] == count)
    while low < high:
        middle = (low + high) // 2
        part = renderer.render(conversation.messages[: ends[middle]], conversation.tools)
        if len(part.ids) <= max_length:
            best = Encoded(part.ids, part.mask, left_out=count - ends[middle])
            low = middle + 1
        else:
            high = middle
    return best or Dropped("too long")
