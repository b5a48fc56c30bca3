"""Conversations written in every layout, and read back the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from exnihilo.cli.main import main
from exnihilo.core.jsonl import write_jsonl
from exnihilo.examples.conversation import Conversation, Message
from exnihilo.examples.convert import LAYOUTS
from exnihilo.examples.formats import read_conversations, sniff

SAID = [
    [("user", "2+2?"), ("assistant", "4")],
    [("system", "Be brief."), ("user", " A?\n"), ("assistant", "B, «c» 四.")],
    [("user", "A?"), ("assistant", "B."), ("user", "C?"), ("assistant", "D.")],
    [("user", "A?"), ("assistant", "look"), ("tool", "{}"), ("assistant", "Done.")],
]
CHATS = [
    Conversation([Message(role, text) for role, text in turns], {"source": f"s{n}"})
    for n, turns in enumerate(SAID)
]
CHATS.append(Conversation([Message("user", "A?"), Message("assistant", "B.", 0.5)], {"source": "s4"}))
HELD = {"messages": 5, "sharegpt": 5, "alpaca": 3, "prompt-completion": 2}
"""How many of these a layout has a place for."""


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_read_back_the_same(
    layout: str, packed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "a.jsonl", tmp_path / f"b.jsonl{packed}"
    write_jsonl(source, (chat.row() for chat in CHATS))
    assert main(["data", "convert", str(source), str(target), "--to", layout]) == 0
    said = capsys.readouterr()
    assert f"{HELD[layout]} conversations" in said.out
    assert sniff(target) == layout
    assert [row.conversation for row in read_conversations(target)] == CHATS[: HELD[layout]]
    assert ("left out" in said.err) is (HELD[layout] < 5)


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jsonl(tmp_path / "a.jsonl", (chat.row() for chat in CHATS))
    (tmp_path / "b.jsonl").write_text("dear")
    assert main(["data", "convert", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]) == 2
    assert "is there already" in capsys.readouterr().err and (tmp_path / "b.jsonl").read_text() == "dear"


@pytest.mark.parametrize(
    ("to", "code", "said"), [("alpacca", 2, "use one of messages"), ("alpaca", 3, "nothing to write")]
)
def test_what_cannot_be_written_is_told(
    to: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "a.jsonl", [CHATS[3].row()])
    assert main(["data", "convert", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "--to", to]) == code
    assert said in capsys.readouterr().err and not (tmp_path / "b.jsonl").exists()
