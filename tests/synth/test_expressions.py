"""Expressions: the steps lead to the value that Python gives, and nothing but small expressions is evaluated."""

from __future__ import annotations

import ast
import random
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from exnihilo.synth.computation import (
    exception_of,
    raises_question,
    truth_question,
    type_question,
    valid_question,
    value_question,
)
from exnihilo.synth.expressions import BUILTINS, arithmetic, expression, sequence
from exnihilo.synth.live import judge
from exnihilo.verify.check import check

OPERATIONS = (ast.Call, ast.BinOp, ast.Subscript)


@pytest.mark.parametrize("grow", [arithmetic, sequence])
def test_steps_lead_to_the_value_python_gives(grow: object) -> None:
    rng = random.Random(1)
    found = [expression(grow(rng)) for _ in range(400)]  # type: ignore[operator]
    known = [e for e in found if e is not None]
    assert len(known) > 350
    for e in known:
        assert eval(e.source, {"__builtins__": {}}, BUILTINS) == e.value
        for before, after in e.steps:
            assert repr(eval(before, {"__builtins__": {}}, BUILTINS)) == after
        assert e.steps[-1][1] == repr(e.value)
        assert e.forms[0] == e.source and e.forms[-1] == repr(e.value)
        assert all(eval(form, {"__builtins__": {}}, BUILTINS) == e.value for form in e.forms)
        operations = [sum(isinstance(node, OPERATIONS) for node in ast.walk(ast.parse(f))) for f in e.forms]
        assert operations == list(range(len(e.forms)))[::-1]  # each step does one
    assert len({e.structure for e in known}) > 60


def test_structure_forgets_literals_only() -> None:
    structures = {
        source: expression(source).structure for source in ("3 + 4", "8 + 1", "3 - 4", "3 + (4 + 1)")
    }  # type: ignore[union-attr]
    assert structures["3 + 4"] == structures["8 + 1"]
    assert len(set(structures.values())) == 3
    a, b = expression("sorted([3, 1])"), expression("sorted(['fig', 'elm', 'oak'])")
    assert a is not None and b is not None and a.structure != b.structure


def test_what_raises_has_no_value() -> None:
    assert expression("[1, 2][5]") is None and expression("7 // (3 - 3)") is None


def test_answers_are_pythons_own() -> None:
    rng = random.Random(2)
    for _ in range(300):
        typed, raised, true, valid = (
            type_question(rng),
            raises_question(rng),
            truth_question(rng),
            valid_question(rng),
        )
        source = typed.prompt.split("`")[1].removeprefix("type(").removesuffix(").__name__")
        assert type(eval(source)).__name__ == typed.answer
        assert (exception_of(raised.prompt.split("`")[1]) or "No exception") == raised.answer
        assert true is not None and bool(eval(true.prompt.split("`")[1])) is (true.answer == "Yes")
        try:
            compile(valid.prompt.split("`")[1], "", "exec")
            compiles = True
        except SyntaxError:
            compiles = False
        assert compiles is (valid.answer == "Yes")


def test_replies_pass_their_own_verifier_and_no_other_answer_does() -> None:
    rng = random.Random(3)
    for make in (
        lambda: value_question(rng, "arithmetic"),
        lambda: value_question(rng, "sequence"),
        lambda: truth_question(rng),
        lambda: type_question(rng),
        lambda: raises_question(rng),
        lambda: valid_question(rng),
    ):
        questions = [q for q in (make() for _ in range(120)) if q is not None]
        for q, other in pairwise(questions):
            assert check(q.verifier, q.reply).correct
            assert q.worked is None or check(q.verifier, q.worked).correct
            assert check(q.verifier, other.reply).correct is (q.answer == other.answer)


def test_yes_and_no_are_about_as_frequent() -> None:
    rng = random.Random(4)
    for make in (truth_question, valid_question):
        answers = [q.answer for q in (make(rng) for _ in range(600)) if q is not None]
        assert 0.4 < answers.count("Yes") / len(answers) < 0.6


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What does `len('fig') + 2` evaluate to?", "5"),
        ("What is the type of `[1, 2]`?", "list"),
        ("What does `type({3}).__name__` give?", "set"),
        ("Is `3 < 2` true?", "No"),
        ("Is `for x in y` valid Python?", "No"),
        ("Does `def f(): return 1` compile?", "Yes"),
    ],
)
def test_typed_questions_are_judged_live(question: str, answer: str) -> None:
    verifier = judge(question)
    assert verifier is not None and verifier["value"] == answer


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "What does `open('x')` evaluate to?",
        "What does `__import__('os').system('ls')` evaluate to?",
        "What does `().__class__.__bases__` evaluate to?",
        "What does `9**9**9` evaluate to?",
        "What does `'a' * 9999 * 9999 * 9999` evaluate to?",
        "What does `[0] * 10000 * 10000` evaluate to?",
        "What does `'%999999999d' % 1` evaluate to?",
        "What does `99999999 * 2` evaluate to?",
        "What does `[x for x in 'ab']` evaluate to?",
        "What does `(lambda: 1)()` evaluate to?",
        "What does `1 / 0` evaluate to?",
        "What does `'a'.format_map(1)` evaluate to?",
        "What does `" + "(" * 200 + "1" + ")" * 200 + "` evaluate to?",
        "What is `1` or `2`?",
        "Tell me about `3`.",
    ],
)
def test_what_can_not_or_must_not_be_evaluated_gets_no_verdict(question: str) -> None:
    assert judge(question) is None


def test_gen_7_the_live_judge_answers_from_a_thread_and_bounds_its_input() -> None:
    questions = [
        "What does `len('fig') + 2` evaluate to?",
        "What does `9**9**9` evaluate to?",
        "What does `'a'.__class__` evaluate to?",
        "What does `" + "1 + " * 250_000 + "1` evaluate to?",
    ]
    with ThreadPoolExecutor(1) as thread:
        started = time.monotonic()
        verifiers = list(thread.map(judge, questions))
    assert verifiers == [{"kind": "code", "value": "5"}, None, None, None]
    assert time.monotonic() - started < 2
