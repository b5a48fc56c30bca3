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

WORDS = [
    "apple",
    "arrow",
    "badge",
    "baker",
    "basil",
    "beach",
    "berry",
    "birch",
    "bread",
    "brick",
    "brush",
    "cabin",
    "camel",
    "candy",
    "cedar",
    "chalk",
    "chess",
    "cider",
    "cloud",
    "clover",
    "cobra",
    "coral",
    "crane",
    "cream",
    "daisy",
    "delta",
    "diver",
    "dozen",
    "eagle",
    "ember",
    "fable",
    "ferry",
    "field",
    "flame",
    "flute",
    "forest",
    "frost",
    "garden",
    "ginger",
    "globe",
    "grape",
    "grove",
    "harbor",
    "hazel",
    "honey",
    "ivory",
    "jelly",
    "kettle",
    "koala",
    "lemon",
    "lilac",
    "linen",
    "lunar",
    "maple",
    "marble",
    "meadow",
    "melon",
    "metal",
    "mint",
    "moss",
    "motor",
    "mural",
    "nectar",
    "north",
    "novel",
    "oasis",
    "ocean",
    "olive",
    "onion",
    "orbit",
    "otter",
    "oxide",
    "paper",
    "pearl",
    "pebble",
    "piano",
    "pilot",
    "plume",
    "poppy",
    "prism",
    "quartz",
    "quill",
    "rabbit",
    "radar",
    "raven",
    "ribbon",
    "river",
    "robin",
    "rocket",
    "saddle",
    "salad",
    "satin",
    "scarf",
    "shell",
    "silver",
    "sketch",
    "slate",
    "spice",
    "spoon",
    "spruce",
    "stone",
    "storm",
    "sugar",
    "sunset",
    "table",
    "tango",
    "temple",
    "thistle",
    "tiger",
    "timber",
    "topaz",
    "torch",
    "tulip",
    "tunnel",
    "turtle",
    "valley",
    "velvet",
    "violet",
    "walnut",
    "water",
    "willow",
    "winter",
    "wren",
    "yarn",
    "zebra",
    "zinc",
]

BUILTINS: dict[str, Any] = {f.__name__: f for f in (len, max, min, sum, sorted, abs)}
MAX_STEPS = 8


@dataclass(frozen=True)
class Expression:
    source: str  # Python, as `ast.unparse` writes it
    value: Any
    structure: str  # the tree with literals replaced by their types
    steps: tuple[tuple[str, str], ...]  # (what is reduced, to what), innermost first


def evaluate(tree: ast.expr) -> Any:
    """Value of a tree that `arithmetic` or `sequence` grew: literals, operators, and six builtins; nothing else."""
    code = compile(ast.fix_missing_locations(ast.Expression(body=tree)), "<expression>", "eval")
    return eval(code, {"__builtins__": {}}, BUILTINS)


def expression(source: str) -> Expression | None:
    """Work an expression out; None where it raises or takes more than `MAX_STEPS` steps."""
    tree = ast.parse(source, mode="eval").body
    structure = _structure(tree)
    source = ast.unparse(tree)
    steps: list[tuple[str, str]] = []
    while not _is_literal(tree):
        if len(steps) == MAX_STEPS:
            return None
        reducer = _ReduceOne()
        try:
            tree = reducer.visit(tree)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None
        steps.append(reducer.step)
    return Expression(source, ast.literal_eval(tree), structure, tuple(steps))


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
    """One to three of + - * between whole numbers of 1 … 12, with brackets; every value stays within -99 … 199."""

    def grow(operators: int) -> tuple[str, int]:
        if operators == 0:
            number = rng.randint(1, 12)
            return str(number), number
        left_operators = rng.randint(0, operators - 1)
        while True:
            left, a = grow(left_operators)
            right, b = grow(operators - 1 - left_operators)
            operator = rng.choice("++--*")
            if operator == "*" and not (0 <= a <= 12 and 0 <= b <= 12):
                continue
            value = a + b if operator == "+" else a - b if operator == "-" else a * b
            if -99 <= value <= 199:
                left = f"({left})" if left_operators else left
                right = f"({right})" if operators - 1 - left_operators else right
                return f"{left} {operator} {right}", value

    return grow(rng.choice((1, 1, 2, 2, 2, 3)))[0]


def _numbers(rng: random.Random) -> str:
    return str([rng.randint(1, 12) for _ in range(rng.randint(3, 4))])


def _word(rng: random.Random) -> str:
    return repr(rng.choice(WORDS))


def _words(rng: random.Random) -> str:
    return str(rng.sample(WORDS, 3))


def sequence(rng: random.Random) -> str:
    """Lists and strings: length, index, slice, order, sum, methods, one to three operations deep."""
    depth = rng.choice((1, 1, 2, 2, 2, 3))
    return _whole(rng, depth) if rng.random() < 0.6 else rng.choice((_list, _text))(rng, depth)


def _whole(rng: random.Random, depth: int) -> str:
    """An expression whose value is a whole number."""
    if depth == 0:
        return str(rng.randint(1, 9))
    below = depth - 1
    return rng.choice(_WHOLE)(rng, below)


def _list(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return _numbers(rng)
    return f"({rng.choice(_LIST)(rng, depth - 1)})"


def _text(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return _word(rng)
    return f"({rng.choice(_TEXT)(rng, depth - 1)})"


Grower = Callable[[random.Random, int], str]
_WHOLE: tuple[Grower, ...] = (
    lambda r, d: f"len({_text(r, d)})",
    lambda r, d: f"len({_list(r, d)})",
    lambda r, d: f"max({_list(r, d)})",
    lambda r, d: f"min({_list(r, d)})",
    lambda r, d: f"sum({_list(r, d)})",
    lambda r, d: f"{_list(r, d)}[{r.choice((0, 1, 2, -1, -2))}]",
    lambda r, d: f"{_text(r, d)}.count({r.choice('aeiort')!r})",
    lambda r, d: f"{_whole(r, d)} {r.choice('+-')} {r.randint(1, 9)}",
    lambda r, d: f"max({_whole(r, d)}, {r.randint(1, 20)})",
)
_LIST: tuple[Grower, ...] = (
    lambda r, d: f"sorted({_list(r, d)})",
    lambda r, d: f"{_list(r, d)}[::-1]",
    lambda r, d: f"{_list(r, d)}[:{r.randint(1, 3)}]",
    lambda r, d: f"{_list(r, d)}[{r.randint(1, 2)}:]",
    lambda r, d: f"{_list(r, d)} + [{_whole(r, 0)}]",
)
_TEXT: tuple[Grower, ...] = (
    lambda r, d: f"{_words(r)}[{r.choice((0, 1, 2, -1))}]",
    lambda r, d: f"{_text(r, d)}.upper()",
    lambda r, d: f"{_text(r, d)} + {_word(r)}",
    lambda r, d: f"{_text(r, d)}.title()",
    lambda r, d: f"{r.choice(('max', 'min'))}({_words(r)})" if d == 0 else f"{_text(r, d)}.upper()",
)
