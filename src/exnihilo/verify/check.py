"""Verifiers: does a reply give the right answer?

A verifier is data, `{"kind": …, "value": …}`, so that it travels with the question it belongs to:

- `code`: the last `backticked` span of the reply (the whole reply where there is none) is the value, as Python
  writes it: `[1,2]` equals `[1, 2]`, `"a"` equals `'a'`, and `1` does not equal `True` or `1.0`.
- `words`: the reply's first sentence says the value, whatever the case (`Yes`, `No exception`).
- `unknown`: the reply opens with an admission that it does not know.
- `exact`: the reply is the value, space at its ends aside.
- `number`: the reply's last number, or that in its last `\\boxed{…}` or after its last `####`, is the value.
- `regex`: the value, a regular expression, matches somewhere in the reply.
- `tests`: the reply's last fenced block, a Python program, passes the tests that are the value. It runs in the sandbox.
- `prints`: that program, given `stdin`, prints the value.
- `schema`: the reply's last fenced block, or the reply, is JSON of the schema that is the value (as JSON).
- `constraints`: the reply is written as IFEval's `instruction_id_list` and `kwargs` want it (the value, as JSON).
- `open`: there is no one right answer; nobody can say.

A reply that a rule can't read is wrong. A verifier that can't be read itself gives `correct=None`: nobody is
rewarded or punished for it.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exnihilo.verify.constraints import follows
from exnihilo.verify.documents import is_of_schema
from exnihilo.verify.fences import final_block
from exnihilo.verify.numbers import final_number, number, same_number
from exnihilo.verify.programs import final_program, passes, prints

KINDS = {
    "code": True, "words": True, "unknown": False, "exact": True, "number": True, "regex": True, "tests": True,
    "prints": True, "schema": True, "constraints": True, "open": False,
}  # fmt: skip
"""The kinds of verifiers, and whether one needs a value."""
LONGEST = 2000  # characters of a reply that are read: a flood can't slow the checker down
_SPAN = re.compile(r"`([^`\n]+)`")
_ADMISSION = re.compile(r"\s*(?:i (?:do not|don't|don’t) know|i'm not sure|i am not sure)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    correct: bool | None  # None: this verifier can't say
    got: str  # what was read out of the reply


def check(verifier: Mapping[str, Any], reply: str) -> Verdict:
    """Judge a reply. Raises Refused for a program where this machine can't isolate one."""
    kind, value = verifier.get("kind"), verifier.get("value")
    if kind in ("tests", "prints") and isinstance(value, str):
        stdin = verifier.get("stdin", "")
        right = passes(reply, value) if kind == "tests" else prints(reply, value, str(stdin))
        return Verdict(right, final_program(reply))
    if kind not in ("schema", "constraints"):
        reply = reply[:LONGEST]
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
    if kind == "exact":
        return Verdict(reply.strip() == value.strip(), reply.strip())
    if kind == "number":
        got = final_number(reply) or ""
        return Verdict(same_number(got, value), got)
    if kind == "regex":
        match = re.search(value, reply)
        return Verdict(match is not None, match[0] if match else "")
    if kind == "schema":
        got = final_block(reply, "json").strip()
        return Verdict(is_of_schema(got, json.loads(value)), got)
    if kind == "constraints":
        wanted = json.loads(value)
        return Verdict(follows(reply, wanted["instruction_id_list"], wanted["kwargs"]), reply)
    return Verdict(None, "")


def canonical(kind: str, got: str) -> str:
    """What was read out of a reply, written so that equal answers are equal texts: `1/2` and `0.5` of numbers, `[1,2]`
    and `[1, 2]` of code, `Yes` and `yes` of words."""
    if kind == "number":
        value = number(got)
        return got if value is None else str(value)
    if kind == "code":
        return _literal(got) or got
    return got.casefold() if kind == "words" else got


def final_code(reply: str) -> str:
    """The last backticked span, or the reply itself without its full stop where backticks are absent or unpaired."""
    spans = _SPAN.findall(reply) if reply.count("`") % 2 == 0 else []
    return spans[-1].strip() if spans else reply.strip().removesuffix(".")


def same_code(got: str, expected: str) -> bool:
    """Whether two pieces of Python are the same literal of the same types, or else the same text."""
    left, right = _literal(got), _literal(expected)
    return got == expected or (left is not None and left == right)


def _literal(code: str) -> str | None:
    """A Python literal as `repr` writes it; None for other code."""
    try:
        with warnings.catch_warnings():
            # `2is` parses, with a warning that is the model's, not ours.
            warnings.simplefilter("ignore", SyntaxWarning)
            return repr(ast.literal_eval(code))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _first_sentence(reply: str) -> str:
    line = reply.strip().partition("\n")[0]
    return re.split(r"[.!?,;](?:\s|$)", line, maxsplit=1)[0].strip(" `*\"'")
