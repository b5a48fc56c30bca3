"""What is the same for comparison, and what is not."""

from __future__ import annotations

import pytest

from exnihilo.corpus.folded import fold
from exnihilo.corpus.text_batch import TextBatch


def words(*texts: str) -> list[list[str]]:
    batch = fold(TextBatch.of(texts)).batch
    found: list[list[str]] = [[] for _ in texts]
    for text, start, end in zip(batch.words.text, batch.words.start, batch.words.end, strict=True):
        found[text].append(batch.joined[start:end])
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The CAT, sat!", "the  cat\n\tsat"),
        ("caf\u00e9 na\u00efve", "cafe\u0301 naive"),
        ("\uff21\uff22\uff23 x\u00b2", "abc x2"),
        ("snake_case", "snake case"),
        ("السَّلامُ عليـكم", "السلام عليكم"),
        ("\u0421\u0432\u0435\u0442", "\u0441\u0432\u0435\u0442"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
    ],
)
def test_texts_that_are_the_same(one: str, other: str) -> None:
    first, second = words(one, other)
    assert first == second


@pytest.mark.parametrize(
    ("one", "other"), [("2 + 3", "2 + 4"), ("ab c", "a bc"), ("हिन्दी", "हन्दी"), ("日本", "本日")]
)
def test_texts_that_are_not(one: str, other: str) -> None:
    first, second = words(one, other)
    assert first != second


def test_ideographs_are_words() -> None:
    assert words("白日，依山") == [list("白日依山")]


def test_what_was_folded_is_found_in_the_text_as_it_was() -> None:
    texts = ["The cafe\u0301, and more", "", "السَّلامُ x"]
    before = TextBatch.of(texts)
    folded = fold(before)
    found = folded.batch.words
    spans = zip(folded.origin[found.start], folded.origin[found.end], strict=True)
    assert [before.joined[start:end] for start, end in spans] == [
        "The",
        "cafe\u0301",
        "and",
        "more",
        "السَّلامُ",
        "x",
    ]
    assert found.count.tolist() == [4, 0, 2]
