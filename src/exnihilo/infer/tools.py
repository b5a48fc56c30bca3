"""Tools that a model may call, and how it calls them.

A call is text, as conversations have it (`examples/layouts.py`): the last line of an answer is a JSON object with a
`name` and `arguments`. Between `<tool_call>` and `</tool_call>`, as some models were taught, it may have several lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from exnihilo.infer.calculator import calculate
from exnihilo.sandbox.run import Limits, Outcome, run

OPEN, CLOSE = "<tool_call>", "</tool_call>"
CALCULATOR, PYTHON = "calculator", "python"


@dataclass(frozen=True)
class Tool:
    """Something that a model may call: its one argument, a text, and what it makes of it.

    `use` raises ValueError with the reason where it comes to nothing.
    """

    name: str
    description: str
    argument: str
    use: Callable[[str], str]

    @property
    def definition(self) -> dict[str, Any]:
        """What a chat template is given, as OpenAI's API has it."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": {self.argument: {"type": "string"}},
                    "required": [self.argument],
                },
            },
        }


@dataclass(frozen=True)
class Call:
    """What a model called, with which arguments: any JSON value, since it may write what it likes."""

    name: str
    arguments: Any


@dataclass(frozen=True)
class Reply:
    """What a tool said, or why it has nothing to say."""

    text: str
    failed: bool


def tool(name: str, *, seconds: float = 5.0) -> Tool:
    """`calculator`, or `python`: programs in the sandbox, each for so many seconds. Raises ValueError for others."""
    if name == CALCULATOR:
        return Tool(CALCULATOR, "Calculates an arithmetic expression.", "expression", calculate)
    if name == PYTHON:
        limits = Limits(seconds=seconds)
        return Tool(
            PYTHON,
            "Runs a Python program and says what it printed.",
            "code",
            lambda code: _printed(run(code, limits=limits), limits),
        )
    raise ValueError(f"no tool {name!r}; there are {CALCULATOR} and {PYTHON}")


def call_in(text: str) -> Call | None:
    """The call that an answer ends with, if it does."""
    text = text.strip()
    written = text.removesuffix(CLOSE).rpartition(OPEN)[2] if OPEN in text else text.rpartition("\n")[2]
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str) or "arguments" not in found:
        return None
    return Call(found["name"], found["arguments"])


def answer(call: Call, tools: Sequence[Tool], *, longest: int) -> Reply:
    """What the tool says to a call, at most `longest` characters of it, or what is wrong with the call.

    Raises Refused for programs where this machine can't isolate them.
    """
    called = next((one for one in tools if one.name == call.name), None)
    if called is None:
        return Reply(f"error: no tool {call.name!r:.40}; there are {', '.join(t.name for t in tools)}", True)
    given = call.arguments.get(called.argument) if isinstance(call.arguments, dict) else None
    if not isinstance(given, str):
        return Reply(f"error: {called.name} wants {called.argument}, a text", True)
    try:
        return Reply(called.use(given)[:longest], False)
    except ValueError as error:
        return Reply(f"error: {error}"[:longest], True)


def _printed(outcome: Outcome, limits: Limits) -> str:
    if outcome.how == "time":
        raise ValueError(f"the program took more than {limits.seconds:g} s")
    if outcome.how != "ended":
        raise ValueError(f"the program took too much {outcome.how}")
    if outcome.code:
        last = outcome.stderr.strip().rpartition("\n")[2]
        raise ValueError(last or f"the program ended with code {outcome.code}")
    return outcome.stdout.strip()
