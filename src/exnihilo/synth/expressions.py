"""Small Python expressions, what they evaluate to, and how one gets there step by step.

An expression is grown from templates, so that its *structure* (the syntax tree with every literal replaced by its
type) is known, and structures can be kept for evaluation alone. Its value comes from the interpreter; its steps come
from reducing the innermost call or operator again and again, as a person would with a pencil.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_WORDS = """
apple bird boat book bread bridge candle chair cloud corn door dust fern fig fire fish frost gate glass gold grass hill
honey iron ivy kite lake lamp leaf lime mint moon moss nest oak olive owl pearl pine plum pond rain river road rose salt
sand seed ship silk snow star stone sun swan tea tin tree vine wave wind wolf wool
"""
WORDS = _WORDS.split()

BUILTINS: dict[str, Any] = {f.__name__: f for f in (len, max, min, sum, sorted, abs)}
MAX_STEPS = 8


@dataclass(frozen=True)
class Expression:
    source: str  # Python, as `ast.unparse` writes it
    value: Any
    structure: str  # the tree with literals replaced by their types
    steps: tuple[tuple[str, str], ...]  # (what is reduced, to what), innermost first
    forms: tuple[str, ...]  # the source, what is left of it after each step, and its value


def evaluate(tree: ast.expr) -> Any:
    """Value of a tree that `arithmetic` or `sequence` grew: literals, operators, and six builtins; nothing else."""
    code = compile(ast.fix_missing_locations(ast.Expression(body=tree)), "<expression>", "eval")
    return eval(code, {"__builtins__": {}}, BUILTINS)


def expression(source: str) -> Expression | None:
    """Work an expression out; None where it raises or takes more than `MAX_STEPS` steps."""
    tree = ast.parse(source, mode="eval").body
    structure = _structure(tree)
    steps: list[tuple[str, str]] = []
    forms = [ast.unparse(tree)]
    while not _is_literal(tree):
        if len(steps) == MAX_STEPS:
            return None
        reducer = _ReduceOne()
        try:
            tree = reducer.visit(tree)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None
        steps.append(reducer.step)
        forms.append(ast.unparse(tree))
    return Expression(forms[0], ast.literal_eval(tree), structure, tuple(steps), tuple(forms))


class _ReduceOne(ast.NodeTransformer):
    """Replaces the first innermost call, operator or subscript by its value."""

    def __init__(self) -> None:
        self.step = ("", "")

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if self.step[0]:
            return node
        if isinstance(node, ast.expr) and _is_literal(node):
            return node
        super().generic_visit(node)
        if not self.step[0] and isinstance(
            node, ast.Call | ast.BinOp | ast.Subscript | ast.Compare | ast.UnaryOp | ast.BoolOp
        ):
            value = evaluate(node)
            self.step = (ast.unparse(node), repr(value))
            return ast.parse(repr(value), mode="eval").body
        return node


def _is_literal(node: ast.AST) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return not isinstance(node, ast.BinOp)


def _structure(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return type(node.value).__name__
    if isinstance(node, ast.UnaryOp) and _is_literal(node):
        return "int"
    if isinstance(node, ast.List):
        kind = _structure(node.elts[0]) if node.elts else ""
        return f"[{kind}]"
    if isinstance(node, ast.Name):
        return node.id
    parts = [
        _structure(child) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr_context)
    ]
    name = node.attr if isinstance(node, ast.Attribute) else type(node).__name__
    return f"{name}({','.join(parts)})" if parts else name


# --- how expressions are grown ---------------------------------------------------------------------------------------


def arithmetic(rng: random.Random) -> str:
    """One to four of + - * between whole numbers of 1 … 5, with brackets; every value on the way is in 0 … 12.

    Some 150 facts such as `7 + 5` are what a model of three million parameters learns in a minute beside the rest.
    """

    def grow(operators: int) -> tuple[str, int]:
        if operators == 0:
            number = rng.randint(1, 5)
            return str(number), number
        left_operators = rng.randint(0, operators - 1)
        while True:
            left, a = grow(left_operators)
            right, b = grow(operators - 1 - left_operators)
            operator = rng.choice("++--*")
            value = a + b if operator == "+" else a - b if operator == "-" else a * b
            if 0 <= value <= 12:
                left = f"({left})" if left_operators else left
                right = f"({right})" if operators - 1 - left_operators else right
                return f"{left} {operator} {right}", value

    return grow(rng.choice((1, 1, 2, 2, 3, 4)))[0]


def sequence(rng: random.Random) -> str:
    """Lists of digits: index, slice, reverse, sort, extend, largest, smallest, length; one to three deep."""
    depth = rng.choice((1, 1, 1, 2, 2, 3))
    return rng.choice(_NUMBER if rng.random() < 0.5 else _LIST)(rng, depth - 1)


def _list(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return str([rng.randint(1, 9) for _ in range(rng.randint(3, 4))])
    return f"({rng.choice(_LIST)(rng, depth - 1)})"


Grower = Callable[[random.Random, int], str]
_NUMBER: tuple[Grower, ...] = (
    lambda r, d: f"len({_list(r, d)})",
    lambda r, d: f"max({_list(r, d)})",
    lambda r, d: f"min({_list(r, d)})",
    lambda r, d: f"{_list(r, d)}[{r.choice((0, 1, -1))}]",
)
_LIST: tuple[Grower, ...] = (
    lambda r, d: f"sorted({_list(r, d)})",
    lambda r, d: f"{_list(r, d)}[::-1]",
    lambda r, d: f"{_list(r, d)}[:2]",
    lambda r, d: f"{_list(r, d)}[1:]",
    lambda r, d: f"{_list(r, d)} + [{r.randint(1, 9)}]",
)
