from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.errors import Refused
from exnihilo.examples.check import as_json, check
from exnihilo.examples.check_view import format_report, print_report
from exnihilo.examples.conversation import Conversation, Message
from exnihilo.examples.overlap import Evaluation
from exnihilo.examples.render_view import coloured_text, marked_text
from exnihilo.tokenizer.template import Renderer


def turns(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        turns(("user", "2+2?"), ("assistant", "4")),
        turns(("assistant", "Hello"), ("assistant", "again"), ("user", "bye")),
        turns(("user", "2+2?"), ("assistant", "4")),
        turns(("user", ""), ("assistant", "</s>")),
        turns(("user", "x"), ("assistant", "")),
        turns(("user", "x"), ("assistant", " ")),
        turns(("user", "u" * 90), ("assistant", "long")),
        turns(("user", "a"), ("assistant", "b"), ("user", "c" * 90), ("assistant", "d")),
        turns(("user", "x"), ("system", "y"), ("assistant", "z")),
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    return path


def test_everything_is_counted_with_its_lines(file: Path, renderer: Renderer) -> None:
    report = check(file, renderer=renderer, context=60)
    assert (report.format, report.rows, report.conversations) == ("messages", 10, 6)
    assert report.problems == {
        "empty answer": [5, 6],
        "a system message that is not the first": [9],
        "not JSON (Expecting property name enclosed in double quotes, column 2)": [10],
    }
    assert report.oddities == {
        "the assistant speaks first": [2],
        "messages after the last answer (not trained)": [2],
        "two answers in a row": [2],
        "empty user or system message": [4],
        "a control token written out, such as <|endoftext|> or </s> (read as plain text)": [4],
    }
    assert report.duplicates == [3]
    assert (report.messages, report.answers) == (15, 8)
    lengths = report.lengths
    assert lengths is not None
    assert lengths.tokens == [10, 20, 10, 9, 99, 102]  # BOS, and role + bytes + end a message
    assert lengths.trained == 2 + 12 + 2 + 5 + 5 + 4
    assert (lengths.cut, lengths.dropped) == (1, 1)
    assert [lengths.quantile(q) for q in (0.5, 0.95)] == [10, 102]
    assert len(report.shown) == 3


def test_the_report_names_counts_and_lines(file: Path, renderer: Renderer) -> None:
    text = format_report(check(file, renderer=renderer, context=60))
    assert f"{file}: messages\n6 conversations in 10 rows, 15 messages, 8 answers\n" in text
    assert (
        "in 60 tokens 4 fit whole, 1 are cut between turns into 1 parts (2 messages are in none), 1 are dropped (16.7%)"
        in text
    )
    assert "bad rows, left out: 4\n  2 × empty answer: lines 5, 6\n" in text
    assert "1 rows equal to an earlier one: line 3" in text


def test_the_report_for_machines_is_json(file: Path, renderer: Renderer) -> None:
    found = json.loads(json.dumps(as_json(check(file, renderer=renderer, context=60))))
    assert found["conversations"] == 6 and found["problems"]["empty answer"] == [5, 6]
    assert found["tokens"] == {
        "total": 250, "trained": 30, "median": 10, "p95": 102, "longest": 102,
        "context": 60, "cut": 1, "parts": 1, "lost": 2, "dropped": 1,
    }  # fmt: skip
    assert "tokens" not in as_json(check(file))


def test_three_examples_are_shown_with_what_is_trained_marked(file: Path, renderer: Renderer) -> None:
    out = io.StringIO()
    print_report(check(file), renderer, out)
    assert (
        "example 1, as it is trained:\n<|bos|><|user|>2+2?<|end|><|assistant|>[[4<|end|>]]\n"
        in out.getvalue()
    )
    assert "<|assistant|>[[Hello<|end|>]]<|assistant|>[[again<|end|>]]<|user|>bye<|end|>\n" in out.getvalue()
    assert "example 3" in out.getvalue() and "example 4" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_colours_and_the_same_text(file: Path, renderer: Renderer) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    spoken = Conversation([Message("user", "[b]u[/b]"), Message("assistant", "a")])
    text = coloured_text(spoken, renderer)
    assert text.plain == marked_text(spoken, renderer).replace("[[", "").replace("]]", "")
    (span,) = [span for span in text.spans if span.style == "bold green"]
    assert text.plain[span.start : span.end] == "a<|end|>"
    out = Terminal()
    print_report(check(file), renderer, out)
    assert "example 1" in out.getvalue() and "[[" not in out.getvalue()


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(renderer: Renderer) -> None:
    spoken = Conversation(
        [Message("user", "a\x1b[31m\x07\r\nb\tc\x9b2J"), Message("assistant", "d\x1b]0;x\x07")]
    )
    for shown in (marked_text(spoken, renderer), coloured_text(spoken, renderer).plain):
        assert "a\\x1b[31m\\x07\\x0d\nb\tc\\x9b2J" in shown
        assert not any(ord(character) < 32 and character not in "\t\n" for character in shown)


def test_what_the_template_does_not_take_is_a_problem_of_its_row(tmp_path: Path, renderer: Renderer) -> None:
    strict = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% generation %}{{ m.content }}<|end|>{% endgeneration %}{% endfor %}"
    )
    other = Renderer(renderer.tokenizer.with_template(strict))
    path = tmp_path / "rows.jsonl"
    rows = [turns(("system", "s"), ("assistant", "a")), turns(("user", "u"), ("assistant", "a"))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = check(path, renderer=other)
    assert report.problems == {"the chat template refuses the messages: no system role": [1]}
    assert report.conversations == 1 and len(report.shown) == 1


def test_what_an_evaluation_set_asks_is_found_whatever_its_layout(tmp_path: Path) -> None:
    """Long questions by 13 words in a row, inside other words too; short ones where they are all that is said."""
    long = "How many of the twelve apples are left, when Ann eats three and Bob gives one of his away?"
    tests = tmp_path / "tests"
    tests.mkdir()
    item = {"id": "1", "messages": [{"role": "user", "content": long}], "answer": "8"}
    (tests / "held_out.jsonl").write_text(json.dumps(item) + "\n")
    (tmp_path / "short.jsonl").write_text(json.dumps({"question": "Is 7 prime?"}) + "\n")
    asked = [
        f"A riddle. {long.upper()} Think!",
        " is 7\nprime",
        "Is 7 prime, and why?",
        "How many of the twelve apples are left, when Ann eats four and Bob gives one of his away?",
        "Other",
    ]
    path = tmp_path / "chats.jsonl"
    rows = [turns(("user", text), ("assistant", "Is 7 prime?")) for text in asked]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = check(path, against=Evaluation([tests, tmp_path / "short.jsonl"]))
    assert report.overlaps == {"held_out.jsonl": [1], "short.jsonl": [2]}
    assert "1 rows ask what held_out.jsonl asks, so that it is no test any more: line 1" in format_report(
        report
    )
    assert as_json(report)["overlaps"] == report.overlaps
    assert not check(path).overlaps
    path.write_text('{"id": 3}\n')
    with pytest.raises(Refused, match="no row asks anything"):
        Evaluation([path])


def test_an_answer_without_weight_is_shown_as_untrained(renderer: Renderer) -> None:
    spoken = Conversation(
        [Message("user", "u"), Message("assistant", "a", 0), Message("assistant", "b", 0.5)]
    )
    shown = marked_text(spoken, renderer)
    assert shown == "<|bos|><|user|>u<|end|><|assistant|>a<|end|><|assistant|>[[b<|end|>]]"


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "x"}\n')
    with pytest.raises(Refused, match="plain text: it is for collect and pretrain"):
        check(path)
