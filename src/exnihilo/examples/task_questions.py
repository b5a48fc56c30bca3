"""An instance of a task as a question and its answer, through one of the task's templates."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exnihilo.examples.conversation import Conversation, Message
from exnihilo.examples.tasks import OPTIONS, Instance, Task, Template, Worked, field_names, filled


@dataclass(frozen=True)
class Question:
    """What the user asks, the answer, and how both were made: number of the template, worked examples shown."""

    text: str
    answer: str
    template: int
    shots: int


def question(
    task: Task,
    instance: Instance,
    draw: random.Random,
    *,
    shots: Sequence[int],
    negatives: int,
    shown: Sequence[Instance],
    inverted: bool = True,
) -> Question:
    """Ask one instance: template, number of worked examples and accepted answer are drawn.

    Worked examples are those of the task, or else other instances out of `shown`, through the same template. Without
    `inverted` templates that ask for the input are left aside, where there are others.
    """
    numbers = [n for n, one in enumerate(task.templates) if inverted or not one.inverted]
    number = draw.choice(numbers or range(len(task.templates)))
    template = task.templates[number]
    answers = instance.answers
    answer = draw.choice(answers) if answers else filled(template.target, instance.fields)
    count = draw.choice(shots)
    examples = task.positive[:count] or _others(instance, template, shown, count, draw)
    blocks = [task.definition] if task.definition else []
    blocks += [_block(f"Example {n}:", one) for n, one in enumerate(examples, start=1)]
    if not template.inverted:
        wrong = task.negative[:negatives]
        blocks += [_block(f"Wrong example {n}:", one, explained=True) for n, one in enumerate(wrong, start=1)]
    asked = _input(template, instance)
    text = "\n\n".join([*blocks, f"{asked}\nAnswer:" if examples else asked])
    return Question(text, answer, number, len(examples))


def conversation(task: Task, asked: Question) -> Conversation:
    """A question as a conversation to learn from; its family is the task's cluster."""
    meta: dict[str, Any] = {"family": task.cluster, "task": task.name, "template": asked.template}
    meta |= {"shots": asked.shots, "track": task.track}
    if task.classes and not task.templates[asked.template].inverted:
        meta["answer"] = asked.answer
    return Conversation([Message("user", asked.text), Message("assistant", asked.answer)], meta)


def item(task: Task, instance: Instance, asked: Question, number: int) -> dict[str, Any]:
    """A question as a held-out item: the answer to a classification is compared, any other is scored as a reference."""
    verifier: dict[str, str] = {"kind": "open"}
    if task.classes and not task.templates[asked.template].inverted:
        accepted = sorted(set(instance.answers)) or [asked.answer]
        verifier = {"kind": "exact", "value": accepted[0]}
        if len(accepted) > 1:
            either = "|".join(re.escape(one.strip()) for one in accepted)
            verifier = {"kind": "regex", "value": rf"\A\s*(?:{either})\s*\Z"}
    return {
        "id": f"{task.name}-{number:05d}",
        "family": task.cluster,
        "messages": [{"role": "user", "content": asked.text}],
        "answer": asked.answer,
        "verifier": verifier,
    }


def _input(template: Template, instance: Instance) -> str:
    """The input of an instance, with the answer options where the template wants them, or else at its end."""
    listed = "Options:\n" + "\n".join(f"- {one}" for one in instance.options)
    text = filled(template.input, {**instance.fields, OPTIONS: listed})
    if not instance.options or template.inverted or OPTIONS in field_names(template.input):
        return text
    return f"{text}\n{listed}"


def _others(
    instance: Instance, template: Template, shown: Sequence[Instance], count: int, draw: random.Random
) -> list[Worked]:
    """`count` other instances, worked through the same template."""
    others = [one for one in draw.sample(shown, min(len(shown), count + 1)) if one != instance][:count]
    return [
        Worked(_input(template, one), one.answers[0] if one.answers else filled(template.target, one.fields))
        for one in others
    ]


def _block(title: str, one: Worked, *, explained: bool = False) -> str:
    lines = [title, one.input, f"Answer: {one.output}"]
    if explained and one.explanation:
        lines.append(f"Why it is wrong: {one.explanation}")
    return "\n".join(lines)
