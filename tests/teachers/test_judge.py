"""Judges: grades and preferences, abstentions, and the bias for what stands first."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import pytest

from exnihilo.teachers.judge import Judge
from exnihilo.teachers.program import ProgramTeacher


def judge(answer: Callable[[str], str | None]) -> Judge:
    return Judge(ProgramTeacher("judge", lambda messages: answer(messages[-1]["content"])))


def longer(text: str) -> str:
    """Prefers the longer answer, whichever stands first."""
    a, b = (re.search(rf"\[Answer {name}\]\n(.*?)\n\n", text, re.DOTALL) for name in "AB")
    assert a is not None and b is not None
    return json.dumps({"better": "A" if len(a[1]) > len(b[1]) else "B" if len(a[1]) < len(b[1]) else "tie"})


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ('{"grade": 1}', 0.0),
        ('{"grade": 10}', 1.0),
        ('Sure! ```json\n{"grade": 4}\n```', 1 / 3),
        ('{"grade": 11}', None),
        ('{"grade": 0}', None),
        ('{"grade": true}', None),
        ('{"grade": "7"}', None),
        ('{"grade": 7.5}', None),
        ("7", None),
        ("{" * 3000, None),
        ("", None),
        (None, None),
    ],
)
def test_a_grade_is_read_or_the_judge_abstains(said: str | None, grade: float | None) -> None:
    one = judge(lambda text: said)
    assert one.grades(["q"], ["a"]) == [grade]
    assert (one.asked, one.abstained) == (1, int(grade is None)) and bool(one.first_problem) is (
        grade is None
    )


def test_the_better_answer_wins_in_either_place() -> None:
    assert judge(longer).wins(["q"] * 3, ["long", "s", "same"], ["s", "long", "also"]) == [1.0, 0.0, 0.5]


def test_a_judge_who_prefers_what_stands_first_calls_every_pair_a_tie() -> None:
    assert judge(lambda text: '{"better": "A"}').wins(["q"] * 4, ["x"] * 4, ["y"] * 4) == [0.5] * 4


def test_a_judge_of_coins_wins_nothing() -> None:
    rng = random.Random(0)
    flips = judge(lambda text: json.dumps({"better": rng.choice("AB")}))
    wins = [one for one in flips.wins(["q"] * 600, ["x"] * 600, ["y"] * 600) if one is not None]
    assert sum(wins) / 600 == pytest.approx(0.5, abs=0.05)


def test_nonsense_is_no_verdict_in_either_order() -> None:
    one = judge(lambda text: "I like turtles" if "x1" in text else longer(text))
    assert one.wins(["q", "q"], ["x1 long", "long"], ["y", "y"]) == [None, 1.0]
    assert one.abstained == 2 and one.first_problem == "it said 'I like turtles'"
