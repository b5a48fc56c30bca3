"""`exnihilo tokens show` as a command: what it takes, and when it is in colour."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exnihilo.core.jsonl import write_jsonl
from exnihilo.tokenizer.bpe import byte_tokenizer
from exnihilo.tokens.writer import TokenSetWriter

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tokens(here: Path) -> Path:
    tokenizer = byte_tokenizer()
    tokenizer.save(here / "jetons é/tokenizer")
    with TokenSetWriter(
        here / "jetons é", vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint
    ) as writer:
        for split, text in (("train", "eins zwei"), ("train", "drei"), ("held_out", "vier")):
            writer.write(split, [tokenizer.bos, *tokenizer.encode(text), tokenizer.eos], len(text), "zahlen")
    turns = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}]
    write_jsonl(here / "chats.jsonl", [{"messages": turns}])
    return here / "jetons é"


def test_rows_documents_splits_and_conversations(call: Call, tokens: Path) -> None:
    code, out, err = call("tokens", "show", tokens, "--document", 0)
    assert (code, err) == (0, "") and "<|bos|>[[e|i|n|s|·|z|w|e|i|<|eos|>]]" in out and "\x1b" not in out
    assert "v|i|e|r" in call("tokens", "show", tokens, "--document", 0, "--split", "held_out")[1]
    row = call("tokens", "show", tokens, "--row", 2, "--length", 8, "--json")[1]
    assert sum(one["position"] >= 0 for one in json.loads(row)["tokens"]) == 8
    assert call("tokens", "show", tokens, "--length", 8) == call(
        "tokens", "show", tokens, "--row", 0, "--length", 8
    )
    lines = call("tokens", "show", tokens, "--document", 1, "--table")[1].splitlines()
    assert len(lines) == 2 + 6 and lines[-1].split()[-1] == "<|eos|>"
    chat = call("tokens", "show", "chats.jsonl", "--document", 0, "--tokenizer", tokens / "tokenizer")[1]
    assert "[[2|<|end|>]]" in chat


@pytest.mark.parametrize("verb", ["pretrain", "sft", "pretrain with a warm-up"])
def test_a_row_is_what_a_run_with_that_seed_trains_on(
    call: Call, tokens: Path, here: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exnihilo.tokens.packing import ConversationRows
    from exnihilo.tokens.sampler import DocumentRows

    seen: dict[int, list[list[int]]] = {}
    source = ConversationRows if verb == "sft" else DocumentRows
    real = source.next

    def recorded(self: object, step: int, model: object = None) -> object:
        batch = real(self, step, model)  # type: ignore[arg-type]
        seen.setdefault(step, batch.tokens.tolist())
        return batch

    monkeypatch.setattr(source, "next", recorded)
    shape = ["--model.depth", 1, "--model.width", 16, "--model.heads", 1, "--model.hidden", 16]
    length = 128 if "warm-up" in verb else 8  # shorter ones are not made of pieces
    trained = ["--steps", 2, "--rows", 2, "--length", length, "--seed", 5, "--validation_rows", 0]
    pretrained = call("pretrain", "--tokens", tokens, *shape, *trained, "--out", "base")
    assert pretrained[0] == 0, pretrained[2]
    shown: list[object] = [tokens, "--length", 8]
    if verb == "sft":
        asked = [{"role": "user", "content": str(n)} for n in range(9)]
        answer = {"role": "assistant", "content": "x"}
        write_jsonl(here / "sums.jsonl", [{"messages": [question, answer]} for question in asked])
        tuned = call("sft", "--model", "base", "--examples", "sums.jsonl", *trained, "--out", "tuned")
        assert tuned[0] == 0, tuned[2]
        shown = ["sums.jsonl", "--length", 8, "--tokenizer", tokens / "tokenizer"]
    if "warm-up" in verb:
        shown = ["base"]
    for number in range(4):
        code, out, err = call("tokens", "show", *shown, "--row", number, "--seed", 5, "--json")
        assert code == 0, err
        got = json.loads(out)
        inputs = [one["id"] for one in got["tokens"] if one["position"] >= 0 or one["segment"] < 0]
        assert inputs == seen[number // 2][number % 2]
    if "warm-up" in verb:
        assert "row 1 of step 2 of base: 128 positions, 2 rows a step" in got["title"]
        assert json.loads((here / "base/manifest.json").read_text())["metrics"]["phases"] == ["1:64"]
        assert "--document: a model has read rows" in call("tokens", "show", "base", "--document", 0)[2]
        beyond = call("tokens", "show", "base", "--row", 4)
        assert beyond[0] == 2 and "--row: 4, and there are 4 rows that base read; give 0 to 3" in beyond[2]
        (tokens / "more").write_text("x")
        code, _, err = call("tokens", "show", "base")
        assert code == 3 and "no longer what base was trained on" in err
    elif verb == "sft":
        code, _, err = call("tokens", "show", "tuned")
        assert code == 3 and "tuned: made by sft; give a model that pretrain made" in err


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("{tokens} --row 1 --document 1", 2, "--row and --document both say what to show"),
        ("{tokens} --document 7", 2, "--document: 7, and there are 2 documents"),
        ("{tokens} --row -1", 2, "--row: -1"),
        ("{tokens} --length 1", 2, "--length: 1"),
        ("{tokens} --split test", 3, "has no split 'test'"),
        ("{tokens} --tokenizer {tokens}", 2, "--tokenizer: a token set has its own"),
        ("chats.jsonl", 2, "--tokenizer: chats.jsonl is no token set"),
        ("chats.jsonl --split held_out --tokenizer x", 2, "--split: chats.jsonl is no token set"),
        ("none.jsonl --tokenizer {tokens}/tokenizer", 3, "none.jsonl: "),
        ("chats.jsonl --tokenizer chats.jsonl", 3, "tokenizer.json"),
    ],
)
def test_core_2_wrong_usage_is_one_line(
    call: Call, tokens: Path, words: str, code: int, expected: str
) -> None:
    given = [word.format(tokens=tokens.name) for word in words.replace("{tokens}", "{tokens}").split()]
    got, out, err = call("tokens", "show", *given)
    assert (got, out) == (code, "") and expected in err and err.count("\n") == 1, err


def on_a_terminal(here: Path, **environ: str) -> str:
    leader, follower = pty.openpty()
    bare = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONUTF8": "1",
        "TERM": "xterm",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "exnihilo", "tokens", "show", "jetons é", "--document", "0"]
    process = subprocess.Popen(
        command, stdout=follower, stdin=subprocess.DEVNULL, env=bare | environ, cwd=here
    )
    os.close(follower)
    data = b""
    try:
        while piece := os.read(leader, 4096):
            data += piece
    except OSError:  # the terminal's end, on Linux
        pass
    os.close(leader)
    assert process.wait(60) == 0
    return data.decode()


def test_colour_on_a_terminal_unless_told_otherwise(tokens: Path, here: Path) -> None:
    coloured = on_a_terminal(here)
    assert "\x1b[" in coloured and "[[" not in coloured
    plain = on_a_terminal(here, NO_COLOR="1")
    assert "\x1b" not in plain and "[[e|i|n|s" in plain
