"""Verifiers: does a reply give the right answer?

A verifier is data, `{"kind": …, "value": …}`, so that it travels with the question it belongs to:

- `code`: the last `backticked` span of the reply (the whole reply where there is none) is the value, as Python
  writes it: `[1,2]` equals `[1, 2]`, `"a"` equals `'a'`, and `1` does not equal `True` or `1.0`.
- `words`: the reply's first sentence says the value, whatever the case (`Yes`, `No exception`).
- `unknown`: the reply opens with an admission that it does not know.

A reply that a rule can't read is wrong. A verifier that can't be read itself gives `correct=None`: nobody is
rewarded or punished for it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = {"code": True, "words": True, "unknown": False}
"""The kinds of verifiers, and whether one needs a value."""
LONGEST = 2000  # characters of a reply that are read: a flood can't slow the checker down
_SPAN = re.compile(r"`([^`\n]+)`")
_ADMISSION = re.compile(r"\s*(?:i (?:do not|don't|don’t) know|i'm not sure|i am not sure)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    correct: bool | None  # None: this verifier can't say
    got: str  # what was read out of the reply


def check(verifier: Mapping[str, Any], reply: str) -> Verdict:
    """Judge a reply."""
    reply = reply[:LONGEST]
    kind, value = verifier.get("kind"), verifier.get("value")
    if kind == "unknown":
        return Verdict(bool(_ADMISSION.match(reply)), _first_sentence(reply))
    if not isinstance(value, str):
        return Verdict(None, "")
    if kind == "code":
        got = final_code(reply)
        return Verdict(same_code(got, value), got)
    if kind == "words":
        got = _first_sentence(reply)
        return Verdict(got.casefold() == value.casefold(), got)
    return Verdict(None, "")


def final_code(reply: str) -> str:
    """The last backticked span, or the reply itself without its full stop where backticks are absent or unpaired."""
    spans = _SPAN.findall(reply) if reply.count("`") % 2 == 0 else []
    return spans[-1].strip() if spans else reply.strip().removesuffix(".")


def same_code(got: str, expected: str) -> bool:
    """Whether two pieces of Python are the same literal of the same types, or else the same text."""
    if got == expected:
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", SyntaxWarning
            )  # `2is` parses, with a warning that is the model's, not ours
            left, right = ast.literal_eval(got), ast.literal_eval(expected)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return repr(left) == repr(right)


def _first_sentence(reply: str) -> str:
    line = reply.strip().partition("\n")[0]
    return re.split(r"[.!?,;](?:\s|$)", line, maxsplit=1)[0].strip(" `*\"'")
