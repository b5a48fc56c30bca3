"""Verifiers of numbers, texts and programs."""

from __future__ import annotations

from fractions import Fraction

import pytest

from exnihilo.sandbox.run import isolation
from exnihilo.verify.check import check
from exnihilo.verify.numbers import final_number, number
from exnihilo.verify.questions import verifier_fault

isolated = pytest.mark.skipif(not isolation()[0], reason=isolation()[1])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72), ("-7", -7), ("\N{MINUS SIGN}7", -7), ("1,234,567", 1234567), ("$3.50", Fraction(7, 2)),
        (".5", Fraction(1, 2)), ("-2/3", Fraction(-2, 3)), ("6e3", 6000), ("+4", 4), ("1/0", None), ("x", None),
        ("", None), ("12,34", None), ("1.2.3", None),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, value: int | Fraction | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("reply", "got"),
    [
        ("48 + 24 = 72 clips.", "72"),
        ("So it is $1,200.", "$1,200"),
        ("#### 18\nThat took 3 steps.", "18"),
        ("\\boxed{-5} as 4 - 9", "-5"),
        ("\\boxed{1} or \\boxed{2}", "2"),
        ("no idea", None),
        ("v2 of x3", None),
        ("a 5-4 win", "4"),
        ("It is 3.", "3"),
        ("3.0 and 4.25.", "4.25"),
    ],
)
def test_the_last_number_counts_or_the_one_that_is_marked(reply: str, got: str | None) -> None:
    assert final_number(reply) == got


@pytest.mark.parametrize(
    ("kind", "value", "reply", "correct"),
    [
        ("number", "72", "In all 72.", True),
        ("number", "72", "72.0", True),
        ("number", "72", "72 or 73", False),
        ("number", "0.333333333", "1/3", True),
        ("number", "3", "10/3", False),
        ("number", "1000000", "1000001", False),
        ("number", "72", "seventy-two", False),
        ("exact", "a b", " a b\n", True),
        ("exact", "a b", "a  b", False),
        ("regex", r"^\d{3}$", "123", True),
        ("regex", r"^\d{3}$", "1234", False),
    ],
)
def test_grpo_8_numbers_texts_and_patterns(kind: str, value: str, reply: str, correct: bool) -> None:
    assert check({"kind": kind, "value": value}, reply).correct is correct


TESTS = "assert double(2) == 4\nassert double('a') == 'aa'"


@isolated
@pytest.mark.parametrize(
    ("reply", "correct"),
    [
        ("Like this:\n```python\ndef double(x):\n    return 2 * x\n```\nDone.", True),
        ("def double(x): return x + x", True),
        ("```\ndef double(x): return x\n```\nNo, rather:\n```py\ndef double(x): return x * 2\n```", True),
        ("```python\ndef double(x): return x ** 2\n```", False),
        ("```python\nimport sys; sys.exit(0)\n```", False),
        ("```python\nimport os; os._exit(0)\n```", False),
        ("```python\nwhile True: pass\n```", False),
        ("I can't.", False),
    ],
)
def test_programs_pass_tests_or_do_not(reply: str, correct: bool) -> None:
    assert check({"kind": "tests", "value": TESTS}, reply).correct is correct


@isolated
def test_programs_print_what_is_wanted() -> None:
    verifier = {"kind": "prints", "value": "3\n", "stdin": "1 2"}
    assert check(verifier, "```python\nprint(sum(map(int, input().split())))\n```").correct is True
    assert check(verifier, "```python\nprint(4)\n```").correct is False


@pytest.mark.parametrize(
    ("verifier", "said"),
    [
        ({"kind": "number", "value": "many"}, "needs a number as value, not 'many'"),
        ({"kind": "regex", "value": "("}, "is no regular expression"),
        ({"kind": "tests"}, "needs a text as value"),
    ],
)
def test_a_verifier_that_could_say_nothing_is_told(verifier: dict[str, str], said: str) -> None:
    assert said in (verifier_fault(verifier) or "")
