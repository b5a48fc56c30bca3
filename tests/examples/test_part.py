"""Parts of a file of conversations: nothing is in two of them, and what is left out is told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.examples.part import STAGE, ConversationsConfig
from exnihilo.verify.questions import fault


def part(folder: Path, rows: Iterable[dict[str, Any]], seed: int = 1, **config: Any) -> Artifact:
    write_jsonl(folder / "chats.jsonl", rows)
    given = ConversationsConfig(examples="e", **config)
    return build(STAGE, given, {"examples": folder / "chats.jsonl"}, folder / f"out-{seed}", seed=seed)


def alpaca(count: int) -> list[dict[str, str]]:
    return [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}."} for n in range(count)]


def questions(folder: Path, name: str) -> list[str]:
    return [row["messages"][0]["content"] for _, row in read_jsonl(folder / name)]


def test_parts_share_no_question_and_hold_out_what_was_asked_for(tmp_path: Path) -> None:
    rows = alpaca(400) + [{"instruction": f"say  {n}.", "input": "", "output": "Again."} for n in range(50)]
    made = part(tmp_path, rows, held_out=30, validation=15)
    parts = [
        {" ".join(text.casefold().split()) for text in questions(made.path, f"{name}.jsonl")}
        for name in ("train", "validation", "held_out")
    ]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert sum(map(len, parts)) == 400
    counts = made.manifest["metrics"]
    assert 30 <= counts["held_out"] <= 31 and 15 <= counts["validation"] <= 16
    assert counts["train"] + counts["validation"] + counts["held_out"] == 450
    for _, row in read_jsonl(made.path / "held_out.jsonl"):
        assert fault(row, ("id", "answer")) is None and row["messages"][-1]["role"] == "user"


def test_the_seed_decides_and_small_files_keep_most_for_training(tmp_path: Path) -> None:
    one, again, other = (part(tmp_path, alpaca(40), seed) for seed in (1, 1, 2))
    assert questions(one.path, "held_out.jsonl") == questions(again.path, "held_out.jsonl")
    assert questions(one.path, "held_out.jsonl") != questions(other.path, "held_out.jsonl")
    assert one.manifest["metrics"] | {"left_out": 0} == {
        "train": 34,
        "validation": 2,
        "held_out": 4,
        "left_out": 0,
    }


def test_what_is_left_out_is_counted_by_reason_with_its_first_line(tmp_path: Path) -> None:
    rows = [*alpaca(20), {"instruction": "Say 3.", "input": "", "output": "It is 3."}]
    rows += [{"instruction": "Hm?", "input": "", "output": " "}] * 2
    made = part(tmp_path, rows)
    told = "\n".join(made.manifest["lines"])
    assert "left out: 2 × empty answer (line 22 first)" in told
    assert "left out: 1 × said before, word by word (line 21)" in told


def test_several_turns_ask_what_stood_before_the_last_answer(tmp_path: Path) -> None:
    turns = [
        ("system", "Be brief."),
        ("user", "A?"),
        ("assistant", "B."),
        ("user", "C?"),
        ("assistant", "D."),
    ]
    messages = [{"role": role, "content": text} for role, text in turns]
    rows = [
        {"messages": [*messages[:1], {"role": "user", "content": f"{n}?"}, *messages[2:]]} for n in range(9)
    ]
    made = part(tmp_path, rows)
    (item,) = [row for _, row in read_jsonl(made.path / "held_out.jsonl")]
    assert [one["role"] for one in item["messages"]] == ["system", "user", "assistant", "user"]
    assert item["answer"] == "D." and item["verifier"] == {"kind": "open"}


def test_too_few_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="1 different questions; at least 3 are needed"):
        part(tmp_path, alpaca(1) * 5)
