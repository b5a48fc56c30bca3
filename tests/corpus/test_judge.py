"""Filters one after another: each sees what those before it have left."""

from __future__ import annotations

import random

import pytest

from exnihilo.corpus.judge import Verdict, judge
from exnihilo.corpus.judge_config import JudgeConfig

PROSE = (
    "The river rose in the night, and by the morning it had taken the lower fields with it. Nobody was surprised."
    " They had seen it come that way before, and they would have to see it again. What could be moved was moved to"
    " the barn on the hill. The rest of it, as my father used to say, was between the river and the sea."
)
ALL = {"gopher_repetition": {}, "gopher_quality": {}, "c4": {"min_sentences": 3}, "fineweb": {}}


def config(**sections: object) -> JudgeConfig:
    return JudgeConfig.model_validate(sections)


def reasons(texts: list[str], **sections: object) -> list[str | None]:
    return [verdict and verdict.reason for verdict in judge(texts, config(**sections)).verdicts]


def test_only_the_general_filters_by_default() -> None:
    texts = [PROSE, "no", "a list\n- of\n- bullets\n- and { brackets }"]
    judged = judge(texts, config())
    assert judged.texts == texts
    assert judged.verdicts == [None, Verdict("too short", 2.0, 24), None]


def test_the_first_filter_that_rejects_is_named() -> None:
    texts = [PROSE, "short", PROSE.replace(" the ", " "), "\n".join([PROSE] * 3), PROSE.replace(". ", "\n")]
    assert reasons(texts, **ALL) == [
        None,
        "too short",
        None,
        "gopher: repeated lines",
        "c4: too few sentences",
    ]


def test_later_filters_see_what_c4_left() -> None:
    text = PROSE + "\nRead our privacy policy.\n" + "menu\n" * 3 + PROSE.replace("river", "stream")
    judged = judge([text], config(c4={}, fineweb={"max_short_lines": 0.5, "max_repeated_characters": None}))
    assert judged.verdicts == [None]
    assert judged.texts == [PROSE + "\n" + PROSE.replace("river", "stream")]
    assert judged.lines["c4: unfinished line"] == 3
    assert judged.lines["c4: line holds 'privacy policy'"] == 1
    assert reasons([text], fineweb={"max_short_lines": 0.5, "max_repeated_characters": None}) == [
        "fineweb: short lines"
    ]


@pytest.mark.parametrize("sections", [{}, ALL])
def test_a_verdict_does_not_depend_on_the_batch(sections: dict[str, object]) -> None:
    draw = random.Random(5)
    words = PROSE.split()
    texts = [
        " ".join(draw.choices(words, k=draw.randrange(1, 200))) + draw.choice([".", "…", "\n"])
        for _ in range(60)
    ]
    texts += ["", "\n", PROSE, PROSE * 2, "{" * 30, "- a\n" * 20, "日本語の文章です。" * 9]
    together = judge(texts, config(**sections))
    for i, text in enumerate(texts):
        alone = judge([text], config(**sections))
        assert alone.verdicts[0] == together.verdicts[i]
        if alone.verdicts[0] is None:
            assert alone.texts[0] == together.texts[i]
    assert judge([], config(**sections)).verdicts == []
