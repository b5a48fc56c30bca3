"""Preferences out of rows in every layout that is known, and what is told of rows that say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exnihilo.examples.conversation import Message
from exnihilo.examples.layouts import BadRow
from exnihilo.examples.preferences import Pair, Preference, preference_of, read_preferences

ASKED = [Message("user", "Why?")]


def said(*texts: str) -> list[list[Message]]:
    return [[Message("assistant", text)] for text in texts]


MESSAGES = [{"role": "user", "content": "Why?"}]
YES, NO = ({"role": "assistant", "content": text} for text in ("Yes.", "No."))


@pytest.mark.parametrize(
    ("row", "pairs"),
    [
        ({"prompt": "Why?", "chosen": "Yes.", "rejected": "No."}, (Pair(0, 1),)),
        ({"prompt": "Why?", "chosen": "Yes.", "rejected": "No.", "margin": 2}, (Pair(0, 1, margin=2.0),)),
        (
            {"prompt": "Why?", "chosen": "Yes.", "rejected": "No.", "certainty": 0.8},
            (Pair(0, 1, certainty=0.8),),
        ),
        ({"prompt": MESSAGES, "chosen": [YES], "rejected": [NO]}, (Pair(0, 1),)),
        ({"prompt": MESSAGES, "chosen": [*MESSAGES, YES], "rejected": [*MESSAGES, NO]}, (Pair(0, 1),)),
        ({"chosen": [*MESSAGES, YES], "rejected": [*MESSAGES, NO]}, (Pair(0, 1),)),
        (
            {"chosen": "\n\nHuman: Why?\n\nAssistant: Yes.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
            (Pair(0, 1),),
        ),
        ({"instruction": "Why?", "output_1": "Yes.", "output_2": "No.", "preference": 1}, (Pair(0, 1),)),
        (
            {"instruction": "Why?", "output_1": "Yes.", "output_2": "No.", "preference": 1.75},
            (Pair(1, 0, certainty=0.75),),
        ),
        (
            {"instruction": "Why?", "output_1": "Yes.", "output_2": "No.", "preference": 1.5},
            (Pair(0, 1, certainty=0.5),),
        ),
        ({"prompt": "Why?", "answers": ["Yes.", "No."], "scores": [1, 4]}, (Pair(1, 0),)),
        ({"prompt": "Why?", "answers": ["Yes.", "No."], "ranks": [1, 4]}, (Pair(0, 1),)),
    ],
)
def test_every_layout_says_the_same(row: dict[str, Any], pairs: tuple[Pair, ...]) -> None:
    found = preference_of(row)
    assert found == Preference(ASKED, said("Yes.", "No."), pairs)


def test_a_transcript_is_parted_where_its_answers_begin_to_differ() -> None:
    before = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Why?"
    found = preference_of(
        {"chosen": before + "\n\nAssistant: A: b\n\nc", "rejected": before + "\n\nAssistant: No"}
    )
    assert [message.content for message in found.prompt] == ["Hi", "Hello.", "Why?"]
    assert found.answers == said("A: b\n\nc", "No")
    assert [m.role for m in found.conversation(1)] == ["user", "assistant", "user", "assistant"]
    # Conversations that part earlier keep what follows, up to their last answers.
    long = preference_of(
        {"chosen": before + "\n\nAssistant: x", "rejected": "\n\nHuman: Hi\n\nAssistant: What?"}
    )
    assert [message.content for message in long.prompt] == ["Hi"] and [len(a) for a in long.answers] == [3, 1]


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"prompt": "Why?", "completion": "Yes.", "label": True}, True),
        ({"prompt": MESSAGES, "answer": [*MESSAGES, YES], "label": False}, False),
    ],
)
def test_an_answer_may_be_judged_by_itself(row: dict[str, Any], label: bool) -> None:
    assert preference_of(row | {"source": "votes"}) == Preference(
        ASKED, said("Yes."), (), {"source": "votes"}, label
    )


def test_a_ranking_gives_all_pairs_ties_among_them() -> None:
    row = {"prompt": "Why?", "answers": ["a", "b", "c", "d"], "scores": [3, 1, 3, 2], "source": "judges"}
    found = preference_of(row)
    assert set(found.pairs) == {
        Pair(0, 1), Pair(0, 2, certainty=0.5), Pair(0, 3), Pair(2, 1), Pair(3, 1), Pair(2, 3)
    }  # fmt: skip
    assert found.meta == {"source": "judges"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "a"}, "no chosen and rejected"),
        ({"prompt": "Why?", "chosen": "Yes.", "rejected": "Yes."}, "both answers are the same"),
        ({"prompt": "Why?", "chosen": "Yes.", "rejected": " "}, "empty answer"),
        ({"prompt": "Why?", "chosen": "Yes.", "rejected": 3}, "rejected is a number, not a text or messages"),
        (
            {"prompt": "Why?", "chosen": "Yes.", "rejected": "No.", "certainty": 2},
            "certainty is 2; it is a share",
        ),
        ({"prompt": "Why?", "chosen": "Yes.", "rejected": "No.", "margin": "big"}, "margin is no number"),
        (
            {"prompt": MESSAGES, "chosen": [YES, *MESSAGES], "rejected": [NO]},
            "does not end with the assistant",
        ),
        ({"chosen": "Yes.", "rejected": "No."}, "no prompt"),
        ({"instruction": "a", "output_1": "b", "output_2": "c", "preference": 3}, "1 is for output_1"),
        ({"prompt": "a", "answers": ["b"], "scores": [1]}, "of two or more"),
        ({"prompt": "a", "answers": ["b", "c"], "scores": [1, "x"]}, "scores are not all numbers"),
        ({"prompt": "a", "answers": ["b", "c"], "scores": [1, 1]}, "no answer is preferred"),
        ({"prompt": "a", "completion": "b", "label": 1}, "label is a number, not true or false"),
        ({"prompt": "a", "completion": "", "label": True}, "empty answer"),
        ({"prompt": "a", "chosen": "\ud800", "rejected": "c"}, "half of a surrogate pair"),
    ],
)
def test_what_is_no_preference_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        preference_of(row)


def test_rows_keep_their_lines(tmp_path: Path) -> None:
    good = {"prompt": "Why?", "chosen": "Yes.", "rejected": "No."}
    (tmp_path / "p.jsonl").write_text("\n".join([json.dumps(good), "{", json.dumps({}), json.dumps(good)]))
    rows = list(read_preferences(tmp_path / "p.jsonl"))
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert [row.preference is None for row in rows] == [False, True, True, False]
    assert rows[2].problem and rows[2].problem.startswith("no chosen")
