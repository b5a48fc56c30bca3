"""The stage `conversations`: conversations, or tasks with templates, parted to train on and to hold out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3
from pydantic import Field

from exnihilo.core.config import Config, ExamplesRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.examples.conversation import Conversation, fault
from exnihilo.examples.formats import read_conversations
from exnihilo.examples.task_mix import TaskMix, mix
from exnihilo.examples.tasks import task_files


class ConversationsConfig(Config):
    """Read conversations in any known format, or make them from tasks, and hold some of their questions out."""

    examples: ExamplesRef = Field(
        description="a file of conversations in any known format, or tasks with templates (a file or folder)",
        json_schema_extra=why("there is no default: it is your data", example="chats.jsonl"),
    )
    format: str | None = Field(
        None,
        description="format of the file; none: it is sniffed",
        json_schema_extra=why(
            "open, since every known format is recognised by its first rows", example="alpaca"
        ),
    )
    held_out: int = Field(
        200,
        ge=1,
        description="conversations whose last answer is held out, to compare models on (at most a tenth of all)",
        json_schema_extra=why(
            "200 answers tell a twentieth of a bit per byte; more narrow the interval by their root"
        ),
    )
    validation: int = Field(
        64,
        ge=0,
        description="conversations that the loss is watched on while training (at most a twentieth of all)",
        json_schema_extra=why(
            "64 conversations are read in a few steps' time, and show when training should stop"
        ),
    )
    tasks: TaskMix | None = Field(
        None,
        description="how tasks with templates are mixed, where examples are such",
        json_schema_extra=why(
            "none: a file of conversations has none, and tasks are then mixed by the defaults below"
        ),
    )


def run(config: ConversationsConfig, inputs: Inputs, work: Workspace) -> None:
    """Write `train.jsonl`, `validation.jsonl` and `held_out.jsonl`; what can't be learned from is counted and told.

    The first words of the user decide the split, so that no two splits share a question. Raises Refused for a file
    without enough conversations.
    """
    path = inputs["examples"]
    assert isinstance(path, Path)
    if config.format is None and task_files(path):
        _mix(path, config, work)
        return
    if config.tasks is not None:
        raise Refused(
            f"{path}: holds conversations, and no tasks with templates; leave the section tasks out"
        )
    problems: Counter[str] = Counter()
    first: dict[str, int] = {}
    found = list(_readable(path, config.format, problems, first, work))
    groups: dict[str, list[Conversation]] = {}
    for conversation in found:
        groups.setdefault(_question(conversation), []).append(conversation)
    if len(groups) < 3:
        raise Refused(
            f"{path}: {len(groups)} different questions; at least 3 are needed, to train, to validate and to compare"
        )
    order = sorted(groups, key=lambda text: blake3(f"{work.seed}\0{text}".encode()).digest())
    held_out = _taken(groups, order, min(config.held_out, max(1, len(found) // 10)))
    validation = _taken(groups, order, min(config.validation, len(found) // 20))
    train = [groups[text] for text in order]
    write_jsonl(work.path / "train.jsonl", (one.row() for group in train for one in group))
    if validation:
        write_jsonl(work.path / "validation.jsonl", (one.row() for one in validation))
    write_jsonl(work.path / "held_out.jsonl", (_item(one, n) for n, one in enumerate(held_out)))
    count = sum(map(len, train))
    work.summary = {
        "train": count,
        "validation": len(validation),
        "held_out": len(held_out),
        "left_out": dict(problems),
    }
    work.lines = [
        f"{count:,} conversations to train on, {len(validation)} to validate, {len(held_out)} held out"
    ]
    work.lines += [
        f"left out: {number:,} × {reason} (line {first[reason]}{' first' if number > 1 else ''})"
        for reason, number in problems.most_common(8)
    ]


def _mix(path: Path, config: ConversationsConfig, work: Workspace) -> None:
    """The three parts, out of tasks with templates."""
    mixed = mix(
        path,
        config.tasks or TaskMix(),
        held_out=config.held_out,
        validation=config.validation,
        seed=work.seed,
    )
    write_jsonl(work.path / "train.jsonl", (one.row() for one in mixed.train))
    if mixed.validation:
        write_jsonl(work.path / "validation.jsonl", (one.row() for one in mixed.validation))
    write_jsonl(work.path / "held_out.jsonl", mixed.held_out)
    counts = {name: len(getattr(mixed, name)) for name in ("train", "validation", "held_out")}
    work.summary = {**counts, "left_out": dict(mixed.left_out)}
    work.lines = [
        f"{counts['train']:,} conversations to train on, {counts['validation']} to validate, "
        f"{counts['held_out']} held out",
        *mixed.lines,
        *(f"left out: {count:,} × {reason}" for reason, count in mixed.left_out.most_common(8)),
    ]


def _readable(
    path: Path, format: str | None, problems: Counter[str], first: dict[str, int], work: Workspace
) -> Iterator[Conversation]:
    """The conversations that something can be learned from, each once."""
    seen: set[bytes] = set()
    with work.progress(None, f"reading {path.name}", "conversations") as progress:
        for row in read_conversations(path, format):
            progress.advance()
            problem = row.problem
            if row.conversation is not None:
                problem = fault(row.conversation.messages)
                said = "\0".join(f"{one.role}\0{one.content}" for one in row.conversation.messages)
                same = blake3(said.encode(errors="surrogatepass")).digest()
                if problem is None and same in seen:
                    problem = "said before, word by word"
                seen.add(same)
            if problem is None and row.conversation is not None:
                yield row.conversation
                continue
            reason = problem or "no conversation"
            problems[reason] += 1
            first.setdefault(reason, row.line)


def _question(conversation: Conversation) -> str:
    """What the user says first, as it is compared: case and space do not count."""
    words = next((one.content for one in conversation.messages if one.role == "user"), "")
    return " ".join(words.casefold().split())


def _taken(groups: dict[str, list[Conversation]], order: list[str], count: int) -> list[Conversation]:
    """The first groups with at least `count` conversations together; they leave `order`."""
    taken: list[Conversation] = []
    while len(taken) < count and len(order) > 1:
        taken += groups[order.pop(0)]
    return taken


def _item(conversation: Conversation, number: int) -> dict[str, Any]:
    """The last answer as a held-out item: it has no one right answer, so the reference itself is scored."""
    last = max(n for n, one in enumerate(conversation.messages) if one.role == "assistant")
    family = next((conversation.meta[key] for key in ("family", "source") if key in conversation.meta), None)
    return {
        "id": f"held-out-{number:05d}",
        "family": family if isinstance(family, str) else "conversations",
        "messages": [{"role": one.role, "content": one.content} for one in conversation.messages[:last]],
        "answer": conversation.messages[last].content,
        "verifier": {"kind": "open"},
    }


STAGE = Stage(
    "conversations",
    "examples",
    ConversationsConfig,
    run,
    "Part a file of conversations into training, validation and held-out items.",
)
