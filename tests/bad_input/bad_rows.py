"""Rows of conversations that nothing can be learned from."""

from __future__ import annotations

import json
from typing import Any

from bad_case import Case, rows, said
from bad_conversations import GOOD, SFT, mine


def only(*messages: Any, **more: Any) -> dict[str, str | bytes]:
    """A file with one conversation of these messages."""
    return mine(rows({"messages": list(messages), **more}))


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


ASKED, ANSWERED = turn("user", "1+1?"), turn("assistant", "2")
CASES = [
    Case(
        "No messages",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 no messages (line 1); mend them (exnihilo "
            "data check FILE shows more)"
        ),
        only(),
    ),
    Case(
        "An answer with a weight below 0",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 message 2: weight is -1; a weight is 0 or more, "
            "train true or false (line 1); mend them (exnihilo data check FILE shows more)"
        ),
        only(ASKED, ANSWERED | {"weight": -1}),
    ),
    Case(
        "Answers that are all without weight",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 every answer has weight 0 (line 1); mend them "
            "(exnihilo data check FILE shows more)"
        ),
        only(ASKED, ANSWERED | {"train": False}),
    ),
    Case(
        "Messages that are a text",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 no list of messages (line 1); mend them "
            "(exnihilo data check FILE shows more)"
        ),
        mine(rows({"messages": "1+1?"})),
    ),
    Case(
        "A message without a role",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 message 1 has no role (line 1); mend them "
            "(exnihilo data check FILE shows more)"
        ),
        only({"content": "1+1?"}, ANSWERED),
    ),
    Case(
        "An unknown role",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 unknown role 'bot' (line 1); mend them "
            "(exnihilo data check FILE shows more)"
        ),
        only(ASKED, turn("bot", "2"), ANSWERED),
    ),
    Case(
        "No answer",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 no assistant message (line 1); mend them "
            "(exnihilo data check FILE shows more)"
        ),
        only(ASKED),
    ),
    Case(
        "An empty answer",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 empty answer (line 1); mend them (exnihilo "
            "data check FILE shows more)"
        ),
        only(ASKED, turn("assistant", " ")),
    ),
    Case(
        "A system message in the middle",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 a system message that is not the first "
            "(line 1); mend them (exnihilo data check FILE shows more)"
        ),
        only(ASKED, turn("system", "Be brief."), ANSWERED),
    ),
    Case(
        "A content that is a number",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 message 2 is a number, not text (line 1); "
            "mend them (exnihilo data check FILE shows more)"
        ),
        only(ASKED, turn("assistant", 2)),
    ),
    Case(
        "A content with a picture",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 message 1 has a part that is not text (line "
            "1); mend them (exnihilo data check FILE shows more)"
        ),
        only(turn("user", [{"type": "image_url", "image_url": {"url": "a.png"}}]), ANSWERED),
    ),
    Case(
        "Tools that are a number",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 tools is a number, not a list (line 1); "
            "mend them (exnihilo data check FILE shows more)"
        ),
        only(ASKED, ANSWERED, tools=5),
    ),
    Case(
        "Tools that are no JSON",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 tools: not JSON (line 1); mend them "
            "(exnihilo data check FILE shows more)"
        ),
        only(ASKED, ANSWERED, tools="[{"),
    ),
    Case(
        "Tool calls that are no list",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 message 2: tool_calls is not a list (line "
            "1); mend them (exnihilo data check FILE shows more)"
        ),
        only(ASKED, {"role": "assistant", "tool_calls": "add"}),
    ),
    Case(
        "A tool call without a name",
        SFT,
        3,
        (
            "error: mine.jsonl: nothing to train on; left out: 1 message 2: a tool call without a name (line "
            "1); mend them (exnihilo data check FILE shows more)"
        ),
        only(ASKED, {"role": "assistant", "tool_calls": [{"arguments": {}}]}),
    ),
    Case(
        "A row that is cut off",
        SFT,
        3,
        (
            "error: mine.jsonl: no row is a JSON object (line 1: not JSON (Unterminated string starting at, "
            "column 74)); rows need messages, conversations (from, value), instruction and output, or prompt "
            "and completion"
        ),
        mine(GOOD.splitlines()[0][:-9]),
    ),
    Case(
        "A row that is a list",
        SFT,
        3,
        (
            "error: mine.jsonl: no row is a JSON object (line 1: a list, not an object); rows need messages, "
            "conversations (from, value), instruction and output, or prompt and completion"
        ),
        mine("[[1, 2]]\n"),
    ),
    Case(
        "Bad rows among good ones",
        SFT,
        0,
        (
            "sft: mine.jsonl: 3 rows left out: 1 not JSON (…) (line 3), 1 no assistant message (line 4), 1 a "
            "number, not an object (line 5)"
        ),
        mine(GOOD + '{"messages": [\n' + rows({"messages": [ASKED]}) + "7\n"),
    ),
    Case(
        "A bad row among good ones, looked at",
        "data check mine.jsonl",
        3,
        ("bad rows, left out: 1\n1 × unknown role 'bot': line 3"),
        mine(GOOD + rows({"messages": [turn("user", "1+1?"), turn("bot", "2")]})),
    ),
    Case(
        "An array that is cut off",
        SFT,
        0,
        "sft: mine.jsonl: 1 rows left out: 1 not JSON (…); the rest is not read (line 1)",
        mine(json.dumps([said("1+1?", "2"), said("2+1?", "3")])[:-9]),
    ),
    Case(
        "A byte order mark, and line ends of Windows",
        SFT,
        0,
        "2 conversations read …",
        mine(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()),
    ),
]
