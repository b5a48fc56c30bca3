"""Verifiers: labelled answers are judged as a person would, and no trick is accepted."""

from __future__ import annotations

import itertools
import random

import pytest

from exnihilo.verify.check import LONGEST, check, same_code

CODE = {"kind": "code", "value": "[1, 2]"}


@pytest.mark.parametrize(
    ("reply", "correct"),
    [
        ("It is `[1, 2]`.", True),
        ("It is `[1,2]`.", True),
        ("`3 + 4` is `7`. So it is `[1, 2]`.", True),
        ("[1, 2]", True),
        ("[1, 2].", True),
        ("It is `[1, 2]`. Or is it `[2, 1]`?", False),
        ("It is `[2, 1]`.", False),
        ("It is `(1, 2)`.", False),
        ("It is `[1.0, 2]`.", False),
        ("It is `[True, 2]`.", False),
        ("", False),
        ("``", False),
        ("I don't know.", False),
    ],
)
def test_code_reads_the_last_backticked_span(reply: str, correct: bool) -> None:
    assert check(CODE, reply).correct is correct


def test_grpo_8_numbers_are_compared_as_python_writes_them() -> None:
    same = [
        ("18", "18"),
        ("-7", "-7"),
        ("'a'", '"a"'),
        ("1_000", "1000"),
        ("{'a': 1}", "{'a':1}"),
        ("(1,)", "(1, )"),
    ]
    other = [("18", "18.0"), ("1", "True"), ("18", "$18"), ("1,000", "1000"), ("0.5", "1/2"), ("'18'", "18")]
    assert all(same_code(a, b) for a, b in same)
    assert not any(same_code(a, b) for a, b in other)


def test_grpo_8_five_hundred_labelled_answers() -> None:
    rng = random.Random(0)
    values = [repr(v) for v in (7, -3, 120, "fig", "", [3, 1], [], ["a", "b"], True, None, 2.5)]
    forms = ("It is `{}`.", "`1 + 1` is `2`, so it is `{}`.", "{}", "The answer: `{}`", "`{}`")
    right = 0
    for value, form, again in itertools.product(values, forms, range(10)):
        wrong = rng.choice([v for v in values if v != value])
        shown = value if again % 2 else wrong
        right += check({"kind": "code", "value": value}, form.format(shown)).correct is bool(again % 2)
    assert right / (len(values) * len(forms) * 10) >= 0.99 and len(values) * len(forms) * 10 >= 500


def test_grpo_8_two_hundred_adversarial_replies_are_refused() -> None:
    values = {"7": "7", "'cat'": "'cat'", "[1, 2]": "[1, 2]", "IndexError": "IndexError"}
    tricks = (
        "{v}!!", "not {v}", "`{v}` or `8`", "`8` or maybe {v}", "`{v} or 8`", "`8 or {v}`", "`{v}`, no: `8`", "`[{v}]`",
        "`({v},)`", "`str({v})`", "`{v} == {v}`", "`{v}; {v}`", "`__import__('os')`", "`{v}\n`8``", "` `", "`{v}0`",
        "`0{v}`", "`-{v}`", "`{v}.0`", "`{v}j`", "`b{v}`", "`f{v}`", "`r'{v}'`", "`\"\"\"{v}\"\"\"`", "`lambda: {v}`",
        "`{v} if 1 else 8`", "`{v} = 8`", "`eval('{v}')`", "`{v}{v}`", "`...`", "`nan`", "`1e999`", "`9**9**9`",
        "`{{{v}}}`", "`{{{v}: {v}}}`", "`{v} `8`", "It is {v} and `8`", "`any answer`", "`<|end|>`", "{v} {v}", "\\{v}",
        "`" + "[" * 500 + "`", "`" + "(" * 500 + "{v}" + ")" * 500 + "`", "`𝟟`", "`7\u0301`", "`{v}\u200b`", "`None`",
        "`True`", "`correct`", "reward = 1",
    )  # fmt: skip
    assert len(tricks) * len(values) >= 200
    for value, trick in itertools.product(values.values(), tricks):
        reply = trick.format(v=value)
        assert check({"kind": "code", "value": value}, reply).correct is False, (value, reply)


def test_words_compare_the_first_sentence() -> None:
    yes = {"kind": "words", "value": "Yes"}
    assert check(yes, "Yes.").correct and check(yes, "yes, it is").correct and check(yes, " Yes").correct
    for reply in ("No.", "No. Yes.", "Yes or no", "", "Yesterday.", "I don't know."):
        assert check(yes, reply).correct is False
    assert check({"kind": "words", "value": "No exception"}, "No exception.").correct


def test_unknown_wants_an_admission_at_the_start() -> None:
    unknown = {"kind": "unknown"}
    for reply in ("I don't know.", "I don’t know", "i do not know that.", " I'm not sure."):
        assert check(unknown, reply).correct
    for reply in ("Paris. But I don't know.", "It is `Paris`.", "", "I know.", "You don't know"):
        assert check(unknown, reply).correct is False


def test_grpo_2_a_broken_verifier_says_that_it_cannot_tell() -> None:
    for verifier in ({}, {"kind": "code"}, {"kind": "colour", "value": "7"}, {"kind": "words", "value": 7}):
        assert check(verifier, "`7`").correct is None


def test_a_flood_is_cut_off() -> None:
    assert check(CODE, "x" * 10**6 + "`[1, 2]`").correct is False
    assert check(CODE, "`[1, 2]`" + " " * LONGEST + "`8`").correct is True
    assert check(CODE, "`" + "[" * 10**5 + "`").correct is False
