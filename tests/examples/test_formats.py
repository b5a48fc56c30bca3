from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.examples.conversation import Message
from exnihilo.examples.formats import read_conversations, sniff

ROWS: dict[str, list[tuple[dict[str, Any], list[tuple[str, str]]]]] = {
    "messages": [
        (
            {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}], "id": 7},
            [("user", "u"), ("assistant", "a")],
        ),
        (
            {
                "messages": [
                    {
                        "role": "developer",
                        "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "b"}],
                    },
                    {"role": "user", "content": "sum?"},
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"function": {"name": "add", "arguments": '{"x": [1, 2]}'}}],
                    },
                    {"role": "tool", "content": "3", "tool_call_id": "c1"},
                    {"role": "assistant", "content": "3"},
                ],
                "tools": [{"type": "function"}],
            },
            [
                ("system", "be b"),
                ("user", "sum?"),
                ("assistant", '{"name": "add", "arguments": {"x": [1, 2]}}'),
                ("tool", "3"),
                ("assistant", "3"),
            ],
        ),
        (
            {"conversations": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]},
            [("user", "u"), ("assistant", "a")],
        ),
    ],
    "sharegpt": [
        (
            {"conversations": [{"from": "human", "value": " u\n"}, {"from": "gpt", "value": "a"}]},
            [("user", " u\n"), ("assistant", "a")],
        ),
        (
            {
                "system": "s",
                "conversations": [
                    {"from": "human", "value": "u"},
                    {"from": "function_call", "value": "f()"},
                    {"from": "observation", "value": "1"},
                    {"from": "gpt", "value": "a"},
                ],
                "tools": '[{"name": "f"}]',
            },
            [("system", "s"), ("user", "u"), ("assistant", "f()"), ("tool", "1"), ("assistant", "a")],
        ),
    ],
    "alpaca": [
        ({"instruction": "i", "input": "", "output": "o"}, [("user", "i"), ("assistant", "o")]),
        ({"instruction": "i", "input": "x\n", "output": "o"}, [("user", "i\n\nx\n"), ("assistant", "o")]),
        (
            {"instruction": "i", "output": "o", "system": "s", "history": [["q", "a"]]},
            [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "i"), ("assistant", "o")],
        ),
        ({"instruction": "i", "response": "o", "input": None}, [("user", "i"), ("assistant", "o")]),
    ],
    "prompt-completion": [
        ({"prompt": "p ", "completion": " c"}, [("user", "p "), ("assistant", " c")]),
        (
            {
                "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}],
                "completion": [{"role": "assistant", "content": "c"}],
            },
            [("system", "s"), ("user", "p"), ("assistant", "c")],
        ),
        ({"question": "q", "answer": "a", "id": "1"}, [("user", "q"), ("assistant", "a")]),
    ],
}
OTHERS: dict[str, dict[str, Any]] = {
    "preference": {"prompt": "p", "chosen": "a", "rejected": "b"},
    "prompts": {
        "messages": [{"role": "user", "content": "2+2"}],
        "answer": "4",
        "verifier": {"kind": "exact"},
    },
    "text": {"text": "once"},
}


def write(path: Path, rows: list[Any], **options: str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", newline="", encoding="utf-8", **options)
    return path


@pytest.mark.parametrize("format", ROWS)
def test_corpus_14_each_layout_is_sniffed_and_read(tmp_path: Path, format: str) -> None:
    path = write(tmp_path / "rows.jsonl", [row for row, _ in ROWS[format]])
    assert sniff(path) == format
    for given in (None, format):
        rows = list(read_conversations(path, given))
        assert [row.line for row in rows] == list(range(1, len(rows) + 1))
        assert all(row.problem is None for row in rows)
        found = [row.conversation.messages for row in rows if row.conversation]
        assert found == [[Message(*turn) for turn in turns] for _, turns in ROWS[format]]


@pytest.mark.parametrize("format", ROWS)
def test_the_canonical_row_reads_as_itself(tmp_path: Path, format: str) -> None:
    path = write(tmp_path / "rows.jsonl", [row for row, _ in ROWS[format]])
    first = [row.conversation for row in read_conversations(path) if row.conversation]
    again = write(tmp_path / "again.jsonl", [conversation.row() for conversation in first])
    assert [row.conversation for row in read_conversations(again)] == first


def test_other_fields_become_meta_and_tools_are_found(tmp_path: Path) -> None:
    rows = [
        ROWS["messages"][0][0] | {"meta": {"source": "x"}},
        ROWS["messages"][1][0],
        ROWS["sharegpt"][1][0],
    ]
    first, second = (
        row.conversation
        for row in read_conversations(write(tmp_path / "m.jsonl", rows[:2]))
        if row.conversation
    )
    assert first.meta == {"id": 7, "source": "x"} and first.tools is None
    assert second.tools == [{"type": "function"}]
    (third,) = (row.conversation for row in read_conversations(write(tmp_path / "s.jsonl", rows[2:])))
    assert third is not None and third.tools == [{"name": "f"}]


@pytest.mark.parametrize(("format", "row"), OTHERS.items())
def test_what_is_no_conversation_is_named_with_its_use(
    tmp_path: Path, format: str, row: dict[str, Any]
) -> None:
    path = write(tmp_path / "rows.jsonl", [row])
    assert sniff(path) == format
    uses = {
        "preference": "reward model or DPO",
        "prompts": "reinforcement learning",
        "text": "collect and pretrain",
    }
    for given in (None, format):
        with pytest.raises(Refused, match=uses[format]):
            list(read_conversations(path, given))


@pytest.mark.parametrize(
    ("row", "format"),
    [
        ({"prompt": "p"}, "prompts"),
        ({"prompt": "p", "answer": "4"}, "prompts"),
        ({"prompt": "p", "completion": "c", "label": True}, "preference"),
        ({"prompt": "p", "answer": "c", "label": False}, "preference"),
        ({"chosen": [], "rejected": []}, "preference"),
        ({"messages": [{"role": "user", "content": "u"}]}, "messages"),
    ],
)
def test_rows_that_look_alike_are_told_apart(tmp_path: Path, row: dict[str, Any], format: str) -> None:
    assert sniff(write(tmp_path / "rows.jsonl", [row])) == format


def test_unknown_and_mixed_layouts_are_refused_with_what_was_found(tmp_path: Path) -> None:
    unknown = write(tmp_path / "unknown.jsonl", [{"title": "t", "body": "b"}])
    with pytest.raises(Refused, match="fields body, title are of no known layout; rows need messages, conv"):
        sniff(unknown)
    choices = write(tmp_path / "choices.jsonl", [{"question": "q", "choices": ["a"], "answer": 0}])
    with pytest.raises(Refused, match="no known layout"):
        sniff(choices)
    mixed = write(tmp_path / "mixed.jsonl", [ROWS["alpaca"][0][0], ROWS["sharegpt"][0][0]])
    with pytest.raises(Refused, match=r"more than one layout: alpaca \(line 1\), sharegpt \(line 2\)"):
        sniff(mixed)
    rows = list(read_conversations(mixed, "alpaca"))
    assert [row.problem for row in rows] == [None, "no output"]
    with pytest.raises(ConfigError, match=r"format: 'share_gpt' is not known; did you mean sharegpt\?"):
        list(read_conversations(mixed, "share_gpt"))


GOOD = {"instruction": "é", "output": "四"}


def messages_of(path: Path) -> list[str]:
    return [row.conversation.messages[1].content for row in read_conversations(path) if row.conversation]


def test_corpus_14_byte_order_mark_line_ends_gzip_and_arrays(tmp_path: Path) -> None:
    line = json.dumps(GOOD, ensure_ascii=False)
    spelled = {
        "mark.jsonl": f"\ufeff{line}\n{line}\n".encode(),
        "crlf.jsonl": f"{line}\r\n\r\n{line}".encode(),
        "mark-crlf.json": f"\ufeff{line}\r\n{line}\r\n".encode(),
        "packed.jsonl.gz": gzip.compress(f"\ufeff{line}\n{line}\n".encode()),
        "packed-without-suffix": gzip.compress(f"{line}\n{line}\n".encode()),
        "array.json": f"\ufeff\n [{line},\r\n{line} ]\n".encode(),
        "array.json.gz": gzip.compress(json.dumps([GOOD, GOOD], indent=2).encode()),
    }
    for name, data in spelled.items():
        (tmp_path / name).write_bytes(data)
        assert messages_of(tmp_path / name) == ["四", "四"], name


def test_an_examples_folder_is_read_by_its_training_file(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [GOOD])
    assert messages_of(tmp_path) == ["四"]
    assert sniff(tmp_path) == "alpaca"


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ('{"instruction": "i", "output": }', "not JSON (Expecting value, column 32)"),
        ('"text"', "a text, not an object"),
        ({"instruction": "i"}, "no output"),
        ({"instruction": "i", "output": 42}, "output is a number, not text"),
        ({"instruction": "i", "output": None}, "output is null, not text"),
        ({"instruction": "i", "output": " \n"}, "empty answer"),
        ({"instruction": ["a"], "output": "o"}, "instruction has a part that is not text"),
        ({"instruction": "i", "output": "o", "history": [["a"]]}, "history is not a list of pairs"),
        ('{"instruction": "i", "output": "\\ud83d"}', "half of a surrogate pair in the text"),
        ({"instruction": "i", "output": "o", "tools": "{"}, "tools: not JSON"),
    ],
)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_corpus_14_a_bad_row_is_told_by_its_line_and_the_others_are_read(
    tmp_path: Path, bad: Any, problem: str, k: int
) -> None:
    rows: list[Any] = [GOOD] * 5
    rows[k - 1] = bad
    found = list(read_conversations(write(tmp_path / "rows.jsonl", rows)))
    assert len(found) == 5
    assert [(row.line, row.problem) for row in found if row.conversation is None] == [(k, problem)]


def test_corpus_14_a_line_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    (tmp_path / "rows.jsonl").write_bytes(line + b"\n" + b'{"instruction": "\xe9"}' + b"\n" + line)
    assert [row.problem for row in read_conversations(tmp_path / "rows.jsonl")] == [
        None,
        "not UTF-8 (byte 17 of the line)",
        None,
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": []}, "no messages"),
        ({"messages": "hi"}, "no list of messages"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown role 'narrator'"),
        ({"messages": [{"role": "user", "content": "x"}]}, "no assistant message"),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "s"}]},
            "a system message that is not the first",
        ),
        ({"messages": [{"content": "x"}]}, "message 1 has no role"),
        ({"messages": ["x"]}, "message 1 has no role"),
        ({"messages": [{"role": "user", "content": None}]}, "message 1 is null, not text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "message 1 has a part that is not text",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "weight": -1}]},
            "message 1: weight is -1; a weight is 0 or more, train true or false",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "weight": True}]},
            "message 1: weight is true; a weight is 0 or more, train true or false",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "train": "no"}]},
            'message 1: train is "no"; a weight is 0 or more, train true or false',
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "train": False, "weight": 0}]},
            "message 1 has weight and train; give one",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "weight": 1}]},
            "message 1 has a weight, and it is no answer: answers alone are trained",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "message 1: a tool call without a name"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]},
            "message 1: the arguments of a tool call: not JSON",
        ),
    ],
)
def test_bad_messages_are_told(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "rows.jsonl", [row])
    assert [found.problem for found in read_conversations(path, "messages")] == [problem]


def test_turns_have_weights_in_either_spelling(tmp_path: Path) -> None:
    off: list[dict[str, Any]] = [{"train": False}, {"weight": 0}]
    on: list[dict[str, Any]] = [{"train": True}, {"weight": None}, {}]
    given = [(one, 0.0) for one in off] + [(one, 1.0) for one in on] + [({"weight": 0.5}, 0.5)]
    for extra, weight in given:
        asked = {"role": "user", "content": "u", **({} if weight else {"weight": 0})}
        rows = [
            {"messages": [asked, {"role": "assistant", "content": "a", **extra}]},
            {"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a", **extra}]},
        ]
        for number, row in enumerate(rows):
            (found,) = read_conversations(write(tmp_path / f"{number}.jsonl", [row]))
            assert found.conversation is not None, found.problem
            assert [message.weight for message in found.conversation.messages] == [1, weight]


def test_bad_sharegpt_rows_are_told(tmp_path: Path) -> None:
    rows = [
        {"conversations": [{"from": "cat", "value": "x"}]},
        {"conversations": [{"from": "gpt"}]},
        {"x": 1},
    ]
    found = read_conversations(write(tmp_path / "rows.jsonl", rows), "sharegpt")
    assert [row.problem for row in found] == [
        "unknown role 'cat'",
        "message 1 has no from and value",
        "no list of conversations",
    ]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (bytes(range(256)), r"a binary file \(byte 0 is 0x00\); give JSON Lines"),
        (b"PAR1\x15\x00", "a Parquet file; give JSON Lines"),
        ('{"text": "x"}'.encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        (b"", "no rows; give a file with one JSON object a line"),
        (b"\xef\xbb\xbf\r\n\r\n", "no rows"),
        (b"[]", "no rows"),
        (gzip.compress(b'{"text": "x"}' * 99)[:-20], "not a whole gzip file"),
        (b"\x1f\x8bnonsense", "not a whole gzip file"),
        (b"[\xe9]", "not UTF-8 at byte 1"),
        (b"just words\nand more\n", "no row is a JSON object"),
    ],
)
def test_corpus_14_a_file_that_is_no_text_is_one_clear_line(tmp_path: Path, data: bytes, error: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(data)
    with pytest.raises(Refused, match=error) as caught:
        sniff(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file or directory; give the path of a readable file"):
        sniff(tmp_path / "nothing.jsonl")


def test_the_lines_of_an_array_are_those_its_elements_begin_on(tmp_path: Path) -> None:
    good = json.dumps(GOOD)
    text = f'[\n{good},\n\n{{"instruction":\n"i"}},\n{good}, 3,\n{good} {good}]'
    (tmp_path / "rows.json").write_text(text)
    rows = list(read_conversations(tmp_path / "rows.json"))
    assert [(row.line, row.problem) for row in rows] == [
        (2, None),
        (4, "no output"),
        (6, None),
        (6, "a number, not an object"),
        (7, None),
        (7, "not JSON (no comma after this element); the rest is not read"),
    ]
    (tmp_path / "cut.json").write_text(f"[{good},\n{good[:-5]}")
    cut = list(read_conversations(tmp_path / "cut.json"))
    assert cut[0].conversation is not None
    assert cut[1].line == 2 and (cut[1].problem or "").startswith("not JSON (")
    assert len(cut) == 2


DATA = os.environ.get("EXNIHILO_DATA")


@pytest.mark.skipif(DATA is None, reason="EXNIHILO_DATA does not name the folder of test data")
@pytest.mark.parametrize(
    ("file", "format", "rows"),
    [
        ("gpteacher-roleplay-alpaca-format", "alpaca", 3146),
        ("gpteacher-toolformer-alpaca-format", "alpaca", 2396),
        ("gsm8k-train", "prompt-completion", 7473),
        ("sharegpt-format-example", "sharegpt", 500),
        ("t0-templates", "prompt-completion", 5116),
    ],
)
def test_corpus_14_public_files_are_sniffed_and_read_whole(file: str, format: str, rows: int) -> None:
    path = Path(str(DATA)) / "sft" / f"{file}.jsonl.gz"
    assert sniff(path) == format
    found = list(read_conversations(path))
    assert len(found) == rows
    assert [row.problem for row in found if row.problem] == []


@pytest.mark.skipif(DATA is None, reason="EXNIHILO_DATA does not name the folder of test data")
@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("preferences/hh-harmless-dev", "reward model or DPO"),
        ("text/brown", "collect and pretrain"),
        ("eval/ifeval-first360", "reinforcement learning and evaluation"),
        ("sft/self-instruct-seed-tasks", "fields id, instances, instruction, .* are of no known layout"),
    ],
)
def test_public_files_of_other_kinds_are_refused_with_what_they_are(file: str, error: str) -> None:
    with pytest.raises(Refused, match=error):
        next(read_conversations(Path(str(DATA)) / f"{file}.jsonl.gz"))
