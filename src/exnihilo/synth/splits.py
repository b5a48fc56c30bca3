"""Questions parted into what is trained on and what is held out, and written as the rows of an examples artifact."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.core.seeds import derive
from exnihilo.core.workspace import Workspace
from exnihilo.synth.question import Question

Rows = dict[str, list[dict[str, Any]]]


def fill(
    stream: Iterator[tuple[bool, Question]], wanted: Mapping[str, int], family: str
) -> dict[str, list[Question]]:
    """Distinct questions for every split; training splits take turns in proportion, so that they are alike.

    `stream` is endless and says of each question whether it is held out. Raises Refused where nothing is left for a
    split that must not be empty.
    """
    found: dict[str, list[Question]] = {split: [] for split in wanted}
    seen: set[str] = set()
    # A family has only so many questions: give up on new ones after many repeats.
    patience = 20_000
    while patience and any(len(found[split]) < wanted[split] for split in wanted):
        held_out, question = next(stream)
        if question.prompt in seen:
            patience -= 1
            continue
        splits = [split for split in wanted if (split == "held_out") is held_out]
        split = min(
            splits,
            key=lambda s: len(found[s]) / max(wanted[s], 1) if len(found[s]) < wanted[s] else 2.0,
            default=None,
        )
        if split is None or len(found[split]) >= wanted[split]:
            patience -= 1
            continue
        seen.add(question.prompt)
        found[split].append(question)
    for split in ("train", "held_out"):
        if split in wanted and not found[split]:
            raise Refused(
                f"family {family!r} has no question left for the split {split!r}; make the splits smaller"
            )
    return found


def row(question: Question, split: str, index: int, seed: int, worked_share: float) -> dict[str, Any]:
    """A demonstration (`train`, `validation`), or a question with its verifier.

    So large a share of the demonstrations that have steps show them.
    """
    identity = f"{question.family}-{split}-{index:05d}"
    worked = derive(seed, "worked", identity) % 1000 < 1000 * worked_share
    reply = question.worked if question.worked and worked else question.reply
    user = {"role": "user", "content": question.prompt}
    meta = {"family": question.family, "key": question.key, "answer": question.answer}
    if split in ("train", "validation"):
        return {"id": identity, "messages": [user, {"role": "assistant", "content": reply}], "meta": meta}
    return {
        "id": identity,
        "family": question.family,
        "messages": [user],
        "answer": question.answer,
        "verifier": question.verifier,
        "meta": meta,
    }


def write_splits(rows: Rows, work: Workspace) -> str:
    """Write each split, its rows in a seeded order, to `<split>.jsonl`; return how many there are, in words.

    Raises Refused where a question, or what the splits go by, is both held out and trained on.
    """
    rng = random.Random(derive(work.seed, "order"))
    for split, records in rows.items():
        rng.shuffle(records)
        write_jsonl(work.path / f"{split}.jsonl", records)
    leaks = _leaks(rows)
    if leaks:
        raise Refused(f"held-out questions appear in training: {leaks[:3]}")
    work.summary.update({split: len(records) for split, records in rows.items()})
    return ", ".join(f"{len(records):,} {split.replace('_', ' ')}" for split, records in rows.items())


def _leaks(rows: Rows) -> list[str]:
    """Held-out prompts and keys that a training split has too. Empty unless the splits are broken."""
    held = {row["messages"][0]["content"] for row in rows["held_out"]}
    keys = {(row["meta"]["family"], row["meta"]["key"]) for row in rows["held_out"]}
    trained = [row for split in ("train", "validation", "prompts") for row in rows[split]]
    return [
        row["id"]
        for row in trained
        if row["messages"][0]["content"] in held or (row["meta"]["family"], row["meta"]["key"]) in keys
    ]
