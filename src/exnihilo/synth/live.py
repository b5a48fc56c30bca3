"""Verifiers for questions that a person types: what can be answered by looking, is."""

from __future__ import annotations

import ast
import re
from typing import Any

from exnihilo.synth.expressions import BUILTINS, expression
from exnihilo.synth.question import code, words

_METHODS = {
    "upper",
    "lower",
    "title",
    "count",
    "startswith",
    "endswith",
    "index",
    "isalpha",
    "isdigit",
    "strip",
}
_NODES = (
    ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.Load, ast.Name, ast.Call, ast.Attribute,
    ast.Subscript, ast.Slice, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.Not, ast.UAdd,
    ast.USub, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Div, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt,
    ast.GtE, ast.In, ast.NotIn,
)  # fmt: skip
_LONGEST = 80  # characters of an expression that is looked at
_LARGEST = 10**4  # of a number in it: with 80 characters, no product or repetition is large


def judge(question: str) -> dict[str, Any] | None:
    """A verifier for the question, or None where this can't tell the answer.

    Knows questions with one `backticked` expression: its value, its type, whether it is true, and whether it is
    valid Python. Nothing is executed but literals, operators and a few builtins and methods, within bounds on
    length and size.
    """
    spans = re.findall(r"`([^`]+)`", question)
    if len(spans) != 1 or len(spans[0]) > _LONGEST:
        return None
    source, asked = spans[0].strip(), question.casefold()
    if re.search(r"\b(valid|compile|syntax)\b", asked):
        return words("Yes" if _compiles(source) else "No")
    wants_type = source.startswith("type(") and source.endswith(").__name__")
    if wants_type:
        source = source.removeprefix("type(").removesuffix(").__name__")
    known, value = _value(source)
    if not known:
        return None
    if wants_type or re.search(r"\btype\b", asked):
        return code(type(value).__name__)
    if re.search(r"\b(true|hold)\b", asked):
        return words("Yes" if value else "No")
    if re.search(r"\b(evaluate|value|what is|result)\b", asked):
        return code(repr(value))
    return None


def _compiles(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _value(source: str) -> tuple[bool, Any]:
    """(known, value) of a small, harmless expression."""
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False, None
    products, repeatable = 0, False
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            return False, None
        if isinstance(node, ast.Name) and node.id not in BUILTINS:
            return False, None
        if isinstance(node, ast.Attribute) and node.attr not in _METHODS:
            return False, None
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, int | float)
            and abs(node.value) > _LARGEST
        ):
            return False, None
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            if "%" in str(node.value):  # '%999999999d' % 1 is a gigabyte
                return False, None
            repeatable = True
        repeatable |= isinstance(node, ast.List | ast.Tuple)
        products += isinstance(node, ast.Mult)
    if products > (1 if repeatable else 4):
        return False, None
    try:
        found = expression(source)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return False, None
    return (False, None) if found is None else (True, found.value)
