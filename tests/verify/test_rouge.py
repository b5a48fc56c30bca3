"""ROUGE-L by hand, by brute force, and against the package that defines it."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from exnihilo.verify.rouge import rouge_l


@pytest.mark.parametrize(
    ("text", "reference", "score"),
    [
        ("the cat sat", "The cat, sat!", 1.0),
        ("police kill the gunman", "police killed the gunman", 0.75),  # Lin's example: 3 of 4 words
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("a b", "b a b c", 2 * 2 / 6),
        ("", "a", 0.0),
        ("...", "a", 0.0),
        ("ЧЁРНЫЙ кот", "чёрный пёс", 0.5),
    ],
)
def test_by_hand(text: str, reference: str, score: float) -> None:
    assert rouge_l(text, reference) == pytest.approx(score)
    assert rouge_l(reference, text) == pytest.approx(score)


def random_pairs(count: int, longest: int) -> list[tuple[str, str]]:
    rng = random.Random(0)
    words = ["the", "Cat", "sat", "on", "mat.", "42", "don't"]
    return [
        tuple(" ".join(rng.choices(words, k=rng.randrange(longest))) for _ in range(2))  # type: ignore[misc]
        for _ in range(count)
    ]


def test_by_trying_every_subsequence() -> None:
    for text, reference in random_pairs(60, 6):
        a, b = (one.lower().replace(".", "").replace("'", " ").split() for one in (text, reference))
        parts = [{c for size in range(1, 9) for c in combinations(one, size)} for one in (a, b)]
        common = max(map(len, parts[0] & parts[1]), default=0)
        assert rouge_l(text, reference) == pytest.approx(2 * common / max(len(a) + len(b), 1))


def test_against_rouge_score_on_a_thousand_pairs() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    for text, reference in random_pairs(1000, 30):
        assert rouge_l(text, reference) == pytest.approx(
            scorer.score(reference, text)["rougeL"].fmeasure, abs=1e-12
        )
