"""The layouts that rows come in: how each is recognised, and how it becomes a conversation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exnihilo.examples.conversation import Conversation, Message, fault
from exnihilo.examples.rows import json_kind
from exnihilo.tokenizer.tokenizer import is_unicode

Row = Mapping[str, Any]

_TURN_LISTS = ("messages", "conversations", "conversation")
_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool": "tool",
}
_MESSAGE_ROLES = {"developer": "system", "function": "tool"}
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
)
"""Prompt and completion under the names that public data sets give them."""


class BadRow(ValueError):
    """A row that is not what its layout says; the message is the reason."""


def layout_of(row: Row) -> str | None:
    """The layout that a row's fields show, or None: a key of `CONVERSIONS` or of `OTHERS`."""
    labelled = "prompt" in row and isinstance(row.get("label"), bool)
    if (labelled and row.keys() & {"completion", "answer"}) or {"chosen", "rejected"} <= row.keys():
        return "preference"
    turns = next((row[name] for name in _TURN_LISTS if isinstance(row.get(name), list)), None)
    if turns is not None:
        first = next((turn for turn in turns if isinstance(turn, Mapping)), {})
        if {"from", "value"} <= first.keys():
            return "sharegpt"
        answered = any(isinstance(turn, Mapping) and turn.get("role") == "assistant" for turn in turns)
        return "prompts" if not answered and row.keys() & {"answer", "verifier"} else "messages"
    if "instruction" in row and row.keys() & {"output", "response"}:
        return "alpaca"
    if "choices" not in row and any({prompt, completion} <= row.keys() for prompt, completion in _PAIRS):
        return "prompt-completion"
    if "prompt" in row:
        return "prompts"
    if isinstance(row.get("text"), str):
        return "text"
    return "messages" if "messages" in row else None


def convert(row: Row, layout: str) -> Conversation:
    """A row as a conversation. Raises BadRow with the reason where it is none that can be learned from."""
    messages, used = CONVERSIONS[layout](row)
    reason = fault(messages)
    if reason is not None:
        raise BadRow(reason)
    if not all(is_unicode(message.content) for message in messages):
        raise BadRow("half of a surrogate pair in the text")
    meta = {key: value for key, value in row.items() if key not in used}
    own = meta.pop("meta", {})
    meta |= own if isinstance(own, dict) else {"meta": own}
    tools = meta.get("tools")
    if isinstance(tools, str) and tools.strip():
        meta["tools"] = tools = _parsed(tools, "tools")
    if tools and not isinstance(tools, list):
        raise BadRow(f"tools is {json_kind(tools)}, not a list")
    return Conversation(messages, meta)


Conversion = tuple[list[Message], set[str]]
"""Messages and the names of the fields that went into them; the others become meta."""


def _from_messages(row: Row) -> Conversion:
    name = next((name for name in _TURN_LISTS if name in row), None)
    turns = row.get(name or "messages")
    if name is None or not isinstance(turns, list):
        raise BadRow("no list of messages")
    return [message_of(turn, place) for place, turn in enumerate(turns, start=1)], {name}


def _from_sharegpt(row: Row) -> Conversion:
    name = next((name for name in _TURN_LISTS if name in row), None)
    turns = row.get(name or "conversations")
    if name is None or not isinstance(turns, list):
        raise BadRow("no list of conversations")
    messages = _system(row)
    for place, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping) or not {"from", "value"} <= turn.keys():
            raise BadRow(f"message {place} has no from and value")
        speaker = turn["from"]
        if speaker not in _SHAREGPT_ROLES:
            raise BadRow(f"unknown role {speaker!r:.40}")
        role, where = _SHAREGPT_ROLES[speaker], f"message {place}"
        messages.append(Message(role, _text(turn["value"], where), _weight(turn, role, where)))
    return messages, {name, "system"}


def _from_alpaca(row: Row) -> Conversion:
    """`input` follows `instruction` after an empty line; `history` holds earlier pairs."""
    messages = _system(row)
    history = row.get("history") or []
    if not isinstance(history, list):
        raise BadRow("history is not a list of pairs")
    for pair in history:
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRow("history is not a list of pairs")
        messages += [
            Message("user", _text(pair[0], "history")),
            Message("assistant", _text(pair[1], "history")),
        ]
    answer = "response" if "response" in row and "output" not in row else "output"
    asked = [_text(row.get(name) or "", name) for name in ("instruction", "input")]
    messages.append(Message("user", "\n\n".join(part for part in asked if part)))
    messages.append(Message("assistant", _field(row, answer)))
    return messages, {"system", "history", "instruction", "input", answer}


def _from_prompt_completion(row: Row) -> Conversion:
    names = next((pair for pair in _PAIRS if set(pair) <= row.keys()), None)
    if names is None:
        raise BadRow("no prompt and completion")
    messages = _system(row)
    for name, role in zip(names, ("user", "assistant"), strict=True):
        if isinstance(row[name], list):
            messages += [message_of(turn, place) for place, turn in enumerate(row[name], start=1)]
        else:
            messages.append(Message(role, _field(row, name)))
    return messages, {*names, "system"}


CONVERSIONS: dict[str, Callable[[Row], Conversion]] = {
    "messages": _from_messages,
    "sharegpt": _from_sharegpt,
    "alpaca": _from_alpaca,
    "prompt-completion": _from_prompt_completion,
}
"""The layouts of conversations."""

OTHERS = {
    "preference": "preferences (chosen and rejected answers, or a label): they train a reward model or DPO",
    "prompts": "prompts without answers: they are for reinforcement learning and evaluation",
    "text": "plain text: it is for collect and pretrain",
}
"""The layouts that are recognised and are no conversations, with what they are for."""


def _system(row: Row) -> list[Message]:
    return [Message("system", _text(row["system"], "system"))] if row.get("system") else []


def message_of(turn: Any, place: int) -> Message:
    """A turn with role and content as a message. Raises BadRow with the reason where it is none."""
    where = f"message {place}"
    if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
        raise BadRow(f"{where} has no role")
    role: str = turn["role"]
    role = _MESSAGE_ROLES.get(role, role)
    content = turn.get("content")
    calls = turn.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRow(f"{where}: tool_calls is not a list")
    written = [_call(call, where) for call in calls]
    texts = [_text(content, where)] if content or not written else []
    return Message(role, "\n".join([*texts, *written]), _weight(turn, role, where))


def _weight(turn: Row, role: str, where: str) -> float:
    """What the loss on a turn counts for: its `weight`, or 0 for `train: false`; 1 where neither is given."""
    given = {name: turn[name] for name in ("weight", "train") if turn.get(name) is not None}
    if len(given) == 2:
        raise BadRow(f"{where} has weight and train; give one")
    weight = float(train) if isinstance(train := given.get("train", True), bool) else math.nan
    if "weight" in given:
        number = given["weight"]
        weight = (
            float(number) if isinstance(number, int | float) and not isinstance(number, bool) else math.nan
        )
    if not 0 <= weight < math.inf:
        ((name, value),) = given.items()
        raise BadRow(
            f"{where}: {name} is {json.dumps(value)[:40]}; a weight is 0 or more, train true or false"
        )
    if role != "assistant" and given and weight != 0:
        raise BadRow(f"{where} has a weight, and it is no answer: answers alone are trained")
    return weight if role == "assistant" else 1.0


def _call(call: Any, where: str) -> str:
    """A tool call as the text that the model is to write: its name and arguments as JSON."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or "name" not in function:
        raise BadRow(f"{where}: a tool call without a name")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"{where}: the arguments of a tool call")
    return json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)


def _field(row: Row, name: str) -> str:
    if name not in row:
        raise BadRow(f"no {name}")
    return _text(row[name], name)


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return "".join(_part(part, where) for part in value)
    raise BadRow(f"{where} is {json_kind(value)}, not text")


def _part(part: Any, where: str) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    raise BadRow(f"{where} has a part that is not text")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRow(f"{where}: not JSON") from error
