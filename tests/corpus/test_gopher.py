"""Each of Gopher's rules on both sides of its limit, and what is easily counted wrongly."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from exnihilo.corpus.checks import first_rejection
from exnihilo.corpus.gopher import gopher_quality, gopher_repetition
from exnihilo.corpus.gopher_config import QualityLimits, RepetitionLimits
from exnihilo.corpus.text_batch import TextBatch

OFF = dict.fromkeys(name for name in QualityLimits.model_fields if name != "stop_words")


def quality(text: str, **limits: object) -> str | None:
    """Why one text is rejected where only the limits given hold."""
    checks = gopher_quality(TextBatch.of(["", text]), QualityLimits(**(OFF | limits)))  # type: ignore[arg-type]
    number = int(first_rejection(checks, 2)[1])
    return checks[number].reason if number >= 0 else None


def repetition(text: str, **limits: object) -> str | None:
    checks = gopher_repetition(TextBatch.of(["other words", text]), RepetitionLimits(**limits))  # type: ignore[arg-type]
    number = int(first_rejection(checks, 2)[1])
    return checks[number].reason if number >= 0 else None


@pytest.mark.parametrize(
    ("limit", "kept", "rejected", "reason"),
    [
        ({"min_words": 3}, "one two, three!", "one two, - !", "too few words"),
        ({"max_words": 3}, "one two, three!", "one two three four", "too many words"),
        ({"min_mean_word": 3}, "ab abcd ,,,,", "ab abc", "words too short"),
        ({"max_mean_word": 3}, "ab abcd ,", "abc abcd", "words too long"),
        ({"max_hashes": 0.25}, "# one two three", "# one two", "hash signs"),
        ({"max_ellipses": 0.25}, "one… two three", "one… two", "ellipses"),
        (
            {"max_ellipses": 0.2},
            "one two...",
            "one...",
            "ellipses",
        ),  # three dots are three words and one ellipsis
        ({"max_bullet_lines": 0.5}, "- a\n\n  b", "- a\n  • b\nc", "bullet lines"),
        ({"max_ellipsis_lines": 0.5}, "a...\n\nb", "a... \nb…\nc", "lines cut short"),
        ({"min_alphabetic_words": 0.5}, "a1 2", "a 1 .", "words without letters"),
        ({"min_stop_words": 2}, "THE cat And", "the the cat", "too few stop words"),
        ({"min_stop_words": 2}, "The cat, with it", "Thé cat within", "too few stop words"),
    ],
)
def test_each_rule_of_quality_on_both_sides_of_its_limit(
    limit: dict[str, float], kept: str, rejected: str, reason: str
) -> None:
    assert quality(kept, **limit) is None
    assert quality(rejected, **limit) == f"gopher: {reason}"


@pytest.mark.parametrize("text", ["", "\n\n\n", " \t ", "..."])
def test_a_text_without_words_divides_by_nothing(text: str) -> None:
    assert quality(text, **{name: 0.0 for name in OFF if name.startswith("max")}) in (
        None,
        "gopher: ellipses",
        "gopher: lines cut short",
    )
    assert quality(text, min_words=1) == "gopher: too few words"
    assert repetition(text) == (None if not text.strip() else "gopher: one 2-gram again and again")


def test_words_of_other_scripts_are_words() -> None:
    assert quality("白日依山盡", min_words=5) is None
    assert quality("白日依山", min_words=5) == "gopher: too few words"
    assert quality("हिन्दी भाषा", max_words=2) is None  # vowel signs belong to their word


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("one\n\ntwo\n\none", "repeated paragraphs"),
        ("one\n\n" * 1 + "one two\n\nonly three here\n\none", None),
        ("a b c d e f g\nx\ny\nz z1\nv\na b c d e f g", "characters of repeated lines"),
        ("x\nx\ny", "repeated lines"),
        ("alone in one line", None),
        ("of it", None),  # its one 2-gram is all of it, but occurs once
    ],
)
def test_paragraphs_and_lines(text: str, reason: str | None) -> None:
    assert repetition(text) == (f"gopher: {reason}" if reason else None)


def test_words_that_read_the_same_together_are_not_the_same() -> None:
    same = "ab c d e f " * 2
    other = "ab c d e f a bc d e f"
    assert repetition(same, top_ngrams=[1, 1, 1]) == "gopher: repeated 5-grams"
    assert repetition(other, top_ngrams=[1, 1, 1]) is None


def test_overlapping_occurrences_count_once_unless_asked_for() -> None:
    text = (
        "-" * 30
        + " and much else that is written here for the most part without any repetition at all, to be sure"
    )
    limits = {"top_ngrams": [0.4, 1, 1], "duplicate_ngrams": []}
    checks = gopher_repetition(
        TextBatch.of([text]), RepetitionLimits(**(limits | {"top_ngrams": [0.0, 1, 1]}))
    )  # type: ignore[arg-type]
    assert checks[4].value[0] == pytest.approx((30 + 29) / len(text))  # the hyphens, with the spaces between
    assert repetition(text, **limits) == "gopher: one 2-gram again and again"
    assert repetition(text, **(limits | {"top_ngrams": [0.5, 1, 1]})) is None
    assert repetition(text, **(limits | {"top_ngrams": [0.5, 1, 1], "as_datatrove": True})) is not None


def test_lines_of_blanks_are_lines_as_datatrove_counts() -> None:
    text = "one\n \ntwo\n \nthree\n \nfour\n \nfive"
    assert repetition(text) is None
    assert repetition(text, as_datatrove=True) == "gopher: repeated lines"


def slow_repetition(text: str, overlaps: bool) -> dict[str, float]:
    """The measures of n-grams, as plainly as can be."""
    words = re.findall(r"\w+|[^\w\s]", text)
    found = {}
    for n in (2, 3, 4):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        count = Counter(grams)
        best = max(count, key=lambda gram: (count[gram], -grams.index(gram)), default=None)
        if best is None or count[best] == 1:
            found[f"gopher: one {n}-gram again and again"] = 0.0
            continue
        size = len(" ".join(best)) * count[best]
        held = sorted({i + k for i, gram in enumerate(grams) if gram == best for k in range(n)})
        places = [i for i, gram in enumerate(grams) if gram == best]
        if not overlaps and any(b - a < n for a, b in pairwise(places)):
            size = sum(len(words[i]) for i in held) + len(held) - 1
        found[f"gopher: one {n}-gram again and again"] = size / len(text)
    for n in range(5, 11):
        seen: set[tuple[str, ...]] = set()
        i = size = 0
        while i + n <= len(words):
            gram = tuple(words[i : i + n])
            if gram in seen:
                size += sum(map(len, gram))
                i += n
            else:
                seen.add(gram)
                i += 1
        found[f"gopher: repeated {n}-grams"] = size / len(text)
    return found


@pytest.mark.parametrize("overlaps", [False, True])
def test_n_grams_as_counted_plainly(overlaps: bool) -> None:
    random = np.random.default_rng(1)
    texts = [
        " ".join(random.choice(list("abcd"), size=int(length)))
        for length in random.integers(1, 120, size=200)
    ]
    limits = RepetitionLimits(
        duplicate_paragraphs=1,
        duplicate_lines=1,
        top_ngrams=[0, 0, 0],
        duplicate_ngrams=[0] * 6,
        as_datatrove=overlaps,
    )
    checks = gopher_repetition(TextBatch.of(texts), limits)[4:]
    assert len(checks) == 9
    for i, text in enumerate(texts):
        expected = slow_repetition(text, overlaps)
        assert {check.reason: pytest.approx(check.value[i]) for check in checks} == expected


def test_a_bound_is_enough_where_it_is_within_the_limit() -> None:
    text = (
        " ".join("abcdefghijkl")
        + " "
        + " ".join("abcdefghijkl")
        + " and so on until it is long enough to stay" * 1
    )
    exact = slow_repetition(text, False)["gopher: repeated 5-grams"]
    (check,) = [
        check
        for check in gopher_repetition(TextBatch.of([text]), RepetitionLimits(duplicate_ngrams=[1.0]))
        if check.reason == "gopher: repeated 5-grams"
    ]
    assert (
        exact < check.value[0] <= 1
    )  # ten of the twelve letters stand in whole runs of five, all in one that repeats
