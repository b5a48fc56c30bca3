"""Arithmetic that a model asks for: read by a parser, exact, and bounded in time and size."""

from __future__ import annotations

import ast
from collections.abc import Callable
from fractions import Fraction

LONGEST = 200
"""Characters of an expression: deeper nesting than they allow is no arithmetic."""
MOST_BITS = 1024
"""Of a numerator or denominator on the way."""
DIGITS = 10
"""Significant digits of what is no whole number."""


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ValueError("powers must be whole numbers")
    size = max(base.numerator.bit_length(), base.denominator.bit_length(), 1)
    if abs(exponent) * size > 2 * MOST_BITS:
        raise ValueError("the result is too large")
    result = base ** int(exponent)
    assert isinstance(result, Fraction)
    return result


_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
    ast.Pow: _power,
}


def calculate(expression: str) -> str:
    """The value of an expression of numbers, `+ - * / // % **` and parentheses.

    Raises ValueError, with the reason for whoever wrote it, for anything else.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters")
    try:
        text = expression.strip().replace("^", "**")
        return _written(_value(ast.parse(text, mode="eval").body, text))
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("not an arithmetic expression") from None
    except ZeroDivisionError:
        raise ValueError("division by zero") from None


def _value(node: ast.expr, text: str) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(Fraction(number) if isinstance(number, int) else _decimal(node, text))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, text)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left, text), _value(right, text)))
    raise ValueError("only numbers, + - * / // % ** and parentheses are read")


def _decimal(node: ast.Constant, text: str) -> Fraction:
    """A decimal fraction as it is written: 0.1 is a tenth."""
    written = ast.get_source_segment(text, node) or ""
    exponent = written.lower().partition("e")[2] or "0"
    if abs(int(exponent)) > MOST_BITS:  # to raise ten to it would take for ever
        raise ValueError("the result is too large")
    return Fraction(written)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise ValueError("the result is too large")
    return value


def _written(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.{DIGITS}g}"
