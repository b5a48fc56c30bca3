"""Many tasks as one set of conversations (FLAN, arXiv 2109.01652; Super-NaturalInstructions, arXiv 2204.07705)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3
from pydantic import Field, NonNegativeInt

from exnihilo.core.config import Config, nearest, why
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.seeds import derive
from exnihilo.examples.conversation import Conversation
from exnihilo.examples.task_questions import conversation, item, question
from exnihilo.examples.tasks import Instance, Task, read_tasks

LONG = 5
"""Words from which on a text that two instances share makes one tell about the other."""


class TaskMix(Config):
    """How tasks with templates become conversations."""

    cap: int = Field(
        default=3000,
        ge=1,
        description="instances of a task at most; below it, each task has as many conversations as it has instances",
        json_schema_extra=why(
            "3,000, FLAN's: a task counts by its size (examples-proportional mixing), and no task of a million "
            "drowns the others (arXiv 2109.01652)",
            example="500",
        ),
    )
    shots: list[NonNegativeInt] = Field(
        default=[0],
        min_length=1,
        description="worked examples before a question; each conversation draws one of these numbers",
        json_schema_extra=why(
            "0 alone: a chat model is asked without examples; Super-NaturalInstructions did best with two "
            "(arXiv 2204.07705), and a mixture of both with either way of asking (arXiv 2301.13688)",
            example="0,2",
        ),
    )
    negatives: int = Field(
        default=0,
        ge=0,
        description="wrong examples with their explanation before a question, of tasks that come with some",
        json_schema_extra=why(
            "0: in Super-NaturalInstructions they added nothing to two right ones (arXiv 2204.07705)",
            example="1",
        ),
    )
    hold_out: list[str] = Field(
        default=[],
        description="clusters, or single tasks, of which nothing is trained: held_out.jsonl asks them alone",
        json_schema_extra=why(
            "empty, so that instances of every task are held out. Whether instructions carry over to tasks never seen "
            "shows on a whole cluster alone (arXiv 2109.01652)",
            example="inference,",
        ),
    )


@dataclass
class Mixed:
    """The three parts, what was left out by reason, and lines that tell of it."""

    train: list[Conversation] = field(default_factory=list)
    validation: list[Conversation] = field(default_factory=list)
    held_out: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)


def mix(path: Path, config: TaskMix, *, held_out: int, validation: int, seed: int) -> Mixed:
    """The tasks of a file or folder as conversations, `held_out` items and `validation` conversations at most.

    An instance is in one part; of worked examples, those of training are instances of training. With `hold_out`, an
    instance of another task that shares a text of five words or more with a held-out one is left out. All depends on
    the seed and the data alone.

    Raises as `read_tasks`, and ConfigError for a name in `hold_out` that no task has.
    """
    tasks = read_tasks(path)
    if not tasks:
        raise Refused(f"{path}: no tasks; give YAML with templates, or tasks of Super-NaturalInstructions")
    names = sorted({name for task in tasks for name in (task.name, task.cluster)})
    for name in config.hold_out:
        if name not in names:
            close = nearest(name, names)
            advice = f"did you mean {close}?" if close else f"there are {', '.join(names[:12])}"
            raise ConfigError(f"tasks.hold_out: {name!r} is no cluster and no task; {advice}")
    apart = [task for task in tasks if {task.name, task.cluster} & set(config.hold_out)]
    trained = [task for task in tasks if task not in apart]
    if not trained:
        raise ConfigError("tasks.hold_out: holds out every task; leave some to train on")
    made = Mixed()
    for task in tasks:
        for reason, rows in task.bad.items():
            told = f"{task.name}: {reason} (row {rows[0]}{' first' if len(rows) > 1 else ''})"
            made.left_out[told] += len(rows)
    secret = {text for task in apart for one in task.instances for text in _long_texts(one)}
    pools = {task.name: _pool(task, config.cap, secret, seed, made) for task in trained}
    total = sum(map(len, pools.values()))
    for task in trained:
        pool = pools[task.name]
        share = len(pool) / max(total, 1)
        kept_out = 0 if apart else round(share * min(held_out, total // 10))
        watched = round(share * min(validation, total // 20))
        asked, seen, learned = (
            pool[:kept_out],
            pool[kept_out : kept_out + watched],
            pool[kept_out + watched :],
        )
        made.held_out += _items(task, asked, learned, config, seed)
        made.validation += _conversations(task, seen, learned, config, seed)
        made.train += _conversations(task, learned, learned, config, seed)
    for n, task in enumerate(apart):
        pool = _pool(task, held_out, set(), seed, made)
        # Every held-out task is asked about as often as any other that has instances enough.
        count = held_out // len(apart) + (n < held_out % len(apart))
        made.held_out += _items(task, pool[:count], pool, config, seed)
    if not made.train or not made.held_out:
        raise Refused(
            f"{path}: {total} instances to train on, {len(made.held_out)} to hold out; more of them are needed"
        )
    made.train.sort(key=lambda one: _rank(seed, one.messages[0].content))
    clusters = Counter(task.cluster for task in trained)
    used = {(one.meta["task"], one.meta["template"]) for one in made.train}
    made.lines.append(
        f"{len(trained)} tasks of {len(clusters)} clusters to train on through {len(used)} templates"
        + (f"; held out whole: {', '.join(task.name for task in apart)}" if apart else "")
    )
    return made


def _pool(task: Task, most: int, secret: set[str], seed: int, made: Mixed) -> list[Instance]:
    """At most so many instances of a task, each once, in an order of the seed's."""
    different = {_content(one): one for one in task.instances}
    if len(different) < len(task.instances):
        made.left_out["an instance given before"] += len(task.instances) - len(different)
    clean = [one for one in different.values() if not secret & _long_texts(one)]
    if len(clean) < len(different):
        made.left_out["a text that a held-out task has, too"] += len(different) - len(clean)
    return sorted(clean, key=lambda one: _rank(seed, task.name, _content(one)))[:most]


def _conversations(
    task: Task, instances: list[Instance], shown: list[Instance], config: TaskMix, seed: int
) -> Iterator[Conversation]:
    for one in instances:
        draw = random.Random(derive(seed, task.name, _content(one)))
        asked = question(task, one, draw, shots=config.shots, negatives=config.negatives, shown=shown)
        yield conversation(task, asked)


def _items(
    task: Task, instances: list[Instance], shown: list[Instance], config: TaskMix, seed: int
) -> Iterator[dict[str, Any]]:
    for number, one in enumerate(instances):
        draw = random.Random(derive(seed, task.name, _content(one)))
        asked = question(
            task, one, draw, shots=config.shots, negatives=config.negatives, shown=shown, inverted=False
        )
        yield item(task, one, asked, number)


def _content(instance: Instance) -> str:
    return "\0".join(f"{name}\0{value}" for name, value in sorted(instance.fields.items()))


def _long_texts(instance: Instance) -> set[str]:
    """The texts of an instance that are long enough to be recognised, as they are compared."""
    words = (value.casefold().split() for value in instance.fields.values())
    return {" ".join(one) for one in words if len(one) >= LONG}


def _rank(seed: int, *parts: str) -> bytes:
    return blake3("\0".join((str(seed), *parts)).encode(errors="surrogatepass")).digest()
