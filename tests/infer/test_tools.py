"""Tools: calls as models write them, a calculator that can't be made to do anything else, programs in the sandbox."""

from __future__ import annotations

import json
import threading
import time

import pytest

from exnihilo.infer.calculator import calculate
from exnihilo.infer.tools import Call, answer, call_in, tool


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1+1", "2"), (" 2 * (3 + 4) ", "14"), ("7/2", "3.5"), ("0.1+0.2", "0.3"), ("-7 // 2", "-4"),
        ("2^10", "1024"), ("2**-2", "0.25"), ("1/3", "0.3333333333"), ("+5 % 3", "2"), ("1e3", "1000"),
    ],
)  # fmt: skip
def test_arithmetic_is_exact(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9", "2**99999", "(10**300)**300", "1/0", "0**-1", "().__class__", "__import__('os')", "abs(1)", "[1]*9",
        "'a'*9", "True", "1j", "x", "1 if 1 else 2", "1+" * 99, "(" * 99, "1" * 1_000_000, "", "2**0.5", "lambda: 1",
        "1e999999999", "1\n+1", "1;2", "\x00", "0x" + "f" * 190 + "**99",
    ],
)  # fmt: skip
def test_gen_7_what_is_no_arithmetic_or_too_much_is_told_at_once_on_any_thread(expression: str) -> None:
    told: list[str] = []

    def ask() -> None:
        with pytest.raises(
            ValueError, match=r"only|large|zero|whole|characters|not an arithmetic|Invalid"
        ) as why:
            calculate(expression)
        told.append(str(why.value))

    started = time.monotonic()
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(5)
    assert told and len(told[0]) < 100 and time.monotonic() - started < 1


def test_a_call_is_the_end_of_what_was_said() -> None:
    call = {"name": "calculator", "arguments": {"expression": "1+1"}}
    expected = Call("calculator", {"expression": "1+1"})
    for text in (
        json.dumps(call),
        f"Let me see.\n{json.dumps(call)} ",
        f"<tool_call>\n{json.dumps(call, indent=1)}\n</tool_call>",
    ):
        assert call_in(text) == expected
    for text in (
        "",
        "2",
        "{",
        '{"name": 3, "arguments": {}}',
        '{"name": "a"}',
        json.dumps(call) + "\nIt is 2.",
        "[" * 9999,
    ):
        assert call_in(text) is None


def test_what_a_tool_can_not_do_is_told_to_the_model() -> None:
    tools = [tool("calculator"), tool("python", seconds=1)]

    def said(name: str, arguments: object) -> tuple[str, bool]:
        reply = answer(Call(name, arguments), tools, longest=60)
        return reply.text, reply.failed

    assert said("calculator", {"expression": "6*7"}) == ("42", False)
    assert said("calculator", {"expression": "6*"}) == ("error: not an arithmetic expression", True)
    assert said("calculator", {"sum": "1"}) == ("error: calculator wants expression, a text", True)
    assert said("calculator", "1+1") == ("error: calculator wants expression, a text", True)
    assert said("search", {}) == ("error: no tool 'search'; there are calculator, python", True)
    assert said("python", {"code": "print(sum(range(5)))"}) == ("10", False)
    assert said("python", {"code": "1/0"}) == ("error: ZeroDivisionError: division by zero", True)
    assert said("python", {"code": "while True: pass"}) == ("error: the program took more than 1 s", True)
    text, failed = said("python", {"code": "print('a' * 1000)"})
    assert text == "a" * 60 and not failed
    assert said("python", {"code": "import socket; socket.socket()"})[1]
    with pytest.raises(ValueError, match="no tool 'search'"):
        tool("search")
