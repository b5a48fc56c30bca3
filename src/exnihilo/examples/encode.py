"""A conversation as the token ids that are trained on, within a length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from exnihilo.core.errors import Refused
from exnihilo.examples.conversation import Conversation, Message
from exnihilo.tokenizer.template import Rendered, Renderer


@dataclass(frozen=True)
class Encoded:
    """Ids, and what the loss on each counts for; `left_out` is the number of messages that did not fit."""

    ids: list[int]
    weights: Sequence[float]
    left_out: int = 0


@dataclass(frozen=True)
class Dropped:
    """A conversation of which nothing is trained, and why: "too long", "no answer" or "every answer has weight 0"."""

    reason: str


@dataclass(frozen=True)
class Parts:
    """A conversation cut between turns; `left_out` is the number of messages that are in none of the parts."""

    parts: list[Encoded]
    left_out: int = 0


def encode(conversation: Conversation, renderer: Renderer, max_length: int) -> Encoded | Dropped:
    """Render a conversation into at most `max_length` tokens.

    A longer one ends with the last answer that fits whole: no answer is ever cut, so no end token follows
    words that were not its answer's last. If not even the first answer fits, the conversation is dropped.

    Raises Refused for messages that the chat template does not take, and as `token_weights`.
    """
    rendered = renderer.render(conversation.messages, conversation.tools)
    if not any(rendered.mask):
        return Dropped("no answer")
    if len(rendered.ids) <= max_length:
        return Encoded(rendered.ids, token_weights(conversation.messages, rendered))
    count = len(conversation.messages)
    ends = [n for n, message in enumerate(conversation.messages, start=1) if message.role == "assistant"]
    best: Encoded | None = None
    # Each further answer makes the beginning longer, so the longest that fits is found by halving.
    low, high = 0, len(ends) - (ends[-1] == count)
    while low < high:
        middle = (low + high) // 2
        messages = conversation.messages[: ends[middle]]
        part = renderer.render(messages, conversation.tools)
        if len(part.ids) <= max_length:
            best = Encoded(part.ids, token_weights(messages, part), left_out=count - ends[middle])
            low = middle + 1
        else:
            high = middle
    return best or Dropped("too long")


def encode_parts(conversation: Conversation, renderer: Renderer, max_length: int) -> Parts | Dropped:
    """Render a conversation into parts of at most `max_length` tokens, cut between turns (as Vicuna's were, I7).

    Each part is as long as possible and ends with a whole answer; the next one begins with the user's next words, with
    the system message and the tools before them. Left out are messages between two parts, a turn that is itself too
    long, and parts whose answers all have weight 0.

    Raises as `encode`.
    """
    system = conversation.messages[:1] if conversation.messages[0].role == "system" else []
    turns = conversation.messages[len(system) :]
    users = [n for n, message in enumerate(turns) if message.role == "user"]
    parts: list[Encoded] = []
    kept, reason = len(system), ""
    start: int | None = 0
    while start is not None:
        # Every message is some tokens, so that no more than this many can fit.
        rest = turns[start : start + max_length]
        part = encode(Conversation([*system, *rest], conversation.meta), renderer, max_length)
        stop = start + 1
        if isinstance(part, Dropped):
            reason = reason or part.reason
        else:
            stop = start + len(rest) - part.left_out
            if any(part.weights):
                parts.append(part)
                kept += stop - start
            else:
                reason = reason or "every answer has weight 0"
        start = next((n for n in users if n >= stop), None)
    return Parts(parts, len(conversation.messages) - kept) if parts else Dropped(reason)


def token_weights(messages: Sequence[Message], rendered: Rendered) -> Sequence[float]:
    """What the loss on each token of rendered messages counts for: 0 outside of answers, inside the answer's weight.

    Raises Refused where answers have weights and the chat template does not mark each of them by a span of its own.
    """
    weights = [message.weight for message in messages if message.role == "assistant"]
    if all(weight == 1 for weight in weights):
        return rendered.mask
    spans = [(trained, len(list(run))) for trained, run in groupby(rendered.mask)]
    found = sum(trained for trained, _ in spans)
    if found != len(weights):
        raise Refused(
            f"the chat template marks {found} spans in {len(weights)} answers, so that it can't be told which answer's "
            "weight is whose; drop the weights, or mark each answer by itself"
        )
    own = iter(weights)
    return [weight for trained, size in spans for weight in [next(own) if trained else 0.0] * size]
