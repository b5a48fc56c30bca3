"""Answers to one prompt and which of them is preferred, out of a file in any of the known layouts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from exnihilo.examples.conversation import Message, fault
from exnihilo.examples.layouts import BadRow, message_of
from exnihilo.examples.rows import json_kind, read_rows
from exnihilo.tokenizer.tokenizer import is_unicode

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """That answer `better` is preferred to answer `worse`, both numbers of answers to one prompt.

    Attributes:
        margin: by how much the better one's score should be higher (arXiv 2307.09288).
        certainty: the share of judges who prefer it; 0.5 is a tie.
        aspect: the number of the respect in which it is preferred, such as helpfulness or safety.
    """

    better: int
    worse: int
    margin: float = 0.0
    certainty: float = 1.0
    aspect: int = 0


@dataclass(frozen=True)
class Preference:
    """A prompt, answers to it (each the messages that follow the prompt), and which are preferred.

    An answer that was judged by itself stands alone, without pairs; its `label` says whether it is desirable.
    """

    prompt: list[Message]
    answers: list[list[Message]]
    pairs: tuple[Pair, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    label: bool | None = None

    def conversation(self, answer: int) -> list[Message]:
        """The prompt with one of the answers."""
        return [*self.prompt, *self.answers[answer]]


@dataclass(frozen=True)
class PreferenceRow:
    """A row of a file: its 1-based line and either what it says or the problem that it has."""

    line: int
    preference: Preference | None
    problem: str | None = None


def read_preferences(path: Path | str) -> Iterator[PreferenceRow]:
    """Every row of a file, in order.

    Known are `chosen` and `rejected` (answers, or whole conversations as messages or as a transcript of `Human:` and
    `Assistant:`) with or without `prompt`, `margin` and `certainty`; `output_1`, `output_2` and `preference` (1 to 2,
    between: unsure) with `instruction`; `prompt` with `answers` and their `scores` (more is better) or `ranks`
    (less is); and `prompt` with `completion` or `answer` and a `label`, true or false. Of several answers every pair
    counts. Raises Refused for a file that can't be read.
    """
    for row in read_rows(path):
        if row.value is None:
            yield PreferenceRow(row.line, None, row.problem)
            continue
        try:
            yield PreferenceRow(row.line, preference_of(row.value))
        except BadRow as error:
            yield PreferenceRow(row.line, None, str(error))


def preference_of(row: Row) -> Preference:
    """What a row says. Raises BadRow with the reason where nothing can be learned from it."""
    convert = next((function for names, function in _LAYOUTS if names <= row.keys()), None)
    if convert is None:
        raise BadRow(
            "no chosen and rejected, no output_1, output_2 and preference, no answers with scores or ranks, no "
            "completion with a label"
        )
    found = convert(row)
    for answer in range(len(found.answers)):
        messages = found.conversation(answer)
        reason = fault(messages)
        if reason is not None:
            raise BadRow(reason)
        if messages[-1].role != "assistant":
            raise BadRow("an answer that does not end with the assistant")
        if not all(is_unicode(message.content) for message in messages):
            raise BadRow("half of a surrogate pair in the text")
        if any(message.weight != 1 for message in messages):
            raise BadRow("a message with a weight; preferences have none, a margin or certainty may serve")
    if not found.prompt:
        raise BadRow("no prompt: the answers begin with the same message in nothing")
    for pair in found.pairs:
        if found.answers[pair.better] == found.answers[pair.worse]:
            raise BadRow("both answers are the same")
    if not found.pairs and found.label is None:
        raise BadRow("no pair of answers of which one is preferred")
    return found


def _chosen_rejected(row: Row) -> Preference:
    given = row.get("prompt")
    prompt = [] if given is None else _messages(given, "prompt", "user")
    answers = [_messages(row[name], name, "assistant") for name in ("chosen", "rejected")]
    if isinstance(given, list) or given is None:
        prompt, answers = _parted(prompt, answers)
    pair = Pair(0, 1, _number(row, "margin", 0.0), _share(row, "certainty"))
    return Preference(
        prompt, answers, (pair,), _meta(row, {"prompt", "chosen", "rejected", "margin", "certainty"})
    )


def _two_outputs(row: Row) -> Preference:
    asked = [row.get(name) or "" for name in ("instruction", "input")]
    if not all(isinstance(part, str) for part in asked):
        raise BadRow("instruction is no text")
    answers = [_messages(row[name], name, "assistant") for name in ("output_1", "output_2")]
    second = _number(row, "preference", 1.5) - 1
    if not 0 <= second <= 1:
        raise BadRow(f"preference is {row['preference']}; 1 is for output_1, 2 for output_2")
    pair = Pair(0, 1, certainty=1 - second) if second <= 0.5 else Pair(1, 0, certainty=second)
    used = {"instruction", "input", "output_1", "output_2", "preference"}
    prompt = [Message("user", "\n\n".join(part for part in asked if part))]
    return Preference(prompt, answers, (pair,), _meta(row, used))


def _ranking(row: Row) -> Preference:
    prompt = _messages(row["prompt"], "prompt", "user")
    name = "scores" if "scores" in row else "ranks"
    given, values = row["answers"], row.get(name)
    if (
        not isinstance(given, list)
        or not isinstance(values, list)
        or len(given) != len(values)
        or len(given) < 2
    ):
        raise BadRow("answers and scores or ranks are not lists of one length, of two or more")
    if not all(isinstance(value, (int, float)) and value == value for value in values):
        raise BadRow(f"{name} are not all numbers")
    answers = [_messages(answer, "answers", "assistant") for answer in given]
    worth = [value if name == "scores" else -value for value in values]
    pairs = []
    for a, b in combinations(range(len(answers)), 2):
        if answers[a] == answers[b]:
            continue
        better, worse = (a, b) if worth[a] >= worth[b] else (b, a)
        pairs.append(Pair(better, worse, certainty=0.5 if worth[a] == worth[b] else 1.0))
    if all(pair.certainty == 0.5 for pair in pairs):
        raise BadRow("no answer is preferred to another")
    return Preference(prompt, answers, tuple(pairs), _meta(row, {"prompt", "answers", name}))


def _labelled(row: Row) -> Preference:
    name = "completion" if "completion" in row else "answer"
    if not isinstance(row["label"], bool):
        raise BadRow(f"label is {json_kind(row['label'])}, not true or false")
    prompt = _messages(row["prompt"], "prompt", "user")
    prompt, answers = _parted(prompt, [_messages(row[name], name, "assistant")])
    return Preference(prompt, answers, (), _meta(row, {"prompt", name, "label"}), row["label"])


_LAYOUTS: tuple[tuple[set[str], Callable[[Row], Preference]], ...] = (
    ({"chosen", "rejected"}, _chosen_rejected),
    ({"output_1", "output_2", "preference"}, _two_outputs),
    ({"prompt", "answers", "scores"}, _ranking),
    ({"prompt", "answers", "ranks"}, _ranking),
    ({"prompt", "completion", "label"}, _labelled),
    ({"prompt", "answer", "label"}, _labelled),
)

_TURN = re.compile(r"\n\n(Human|Assistant):")


def _messages(value: Any, name: str, role: str) -> list[Message]:
    if isinstance(value, str):
        return _transcript(value) if _TURN.match(value) else [Message(role, value)]
    if isinstance(value, Sequence) and value:
        return [message_of(turn, place) for place, turn in enumerate(value, start=1)]
    raise BadRow(f"{name} is {json_kind(value)}, not a text or messages")


def _transcript(text: str) -> list[Message]:
    """`\\n\\nHuman: …\\n\\nAssistant: …` as messages."""
    parts = _TURN.split(text)[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        Message(roles[speaker], said.strip()) for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def _parted(prompt: list[Message], answers: list[list[Message]]) -> tuple[list[Message], list[list[Message]]]:
    """The prompt and what differs: answers that are whole conversations begin with it."""
    if prompt:
        if all(answer[: len(prompt)] == prompt for answer in answers):
            answers = [answer[len(prompt) :] for answer in answers]
        return prompt, answers
    common = 0
    for one, other in zip(*answers, strict=False):
        if one != other:
            break
        common += 1
    common = min(common, min(map(len, answers)) - 1)
    # What both say alike belongs to the prompt up to the last message that is not the assistant's.
    while common and answers[0][common - 1].role == "assistant":
        common -= 1
    return answers[0][:common], [answer[common:] for answer in answers]


def _number(row: Row, name: str, default: float) -> float:
    value = row.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise BadRow(f"{name} is no number")
    return float(value)


def _share(row: Row, name: str) -> float:
    value = _number(row, name, 1.0)
    if not 0 <= value <= 1:
        raise BadRow(f"{name} is {value:g}; it is a share, from 0 to 1")
    return value


def _meta(row: Row, used: set[str]) -> dict[str, Any]:
    meta = {key: value for key, value in row.items() if key not in used}
    own = meta.pop("meta", {})
    return meta | (own if isinstance(own, dict) else {"meta": own})
