"""Llama 2's contaminated tokens, against its rule written out."""

from __future__ import annotations

import random

import numpy as np
import pytest

from exnihilo.corpus.evaluation_items import EvaluationItem
from exnihilo.corpus.text_batch import TextBatch
from exnihilo.corpus.token_overlap import EXACT, SKIPPED, TokenOverlap, verdict


def share(item: str, *texts: str) -> float:
    overlap = TokenOverlap([EvaluationItem("s", ("other words before it",)), EvaluationItem("s", (item,))])
    found = overlap.contaminated(TextBatch.of(texts))
    return float(overlap.shares(found)[1])


def by_the_rule(item: list[str], texts: list[list[str]]) -> set[int]:
    """Spans of more than 10 tokens, at most 4 of which differ, none among the first 10 nor the last."""
    tokens: set[int] = set()
    for text in texts:
        for ours in range(len(item)):
            for theirs in range(len(text)):
                for length in range(EXACT + 1, min(len(item) - ours, len(text) - theirs) + 1):
                    equal = [item[ours + i] == text[theirs + i] for i in range(length)]
                    if all(equal[:EXACT]) and equal[-1] and equal.count(False) <= SKIPPED:
                        tokens |= set(range(ours, ours + length))
    return tokens


def test_random_texts_against_the_rule() -> None:
    chance = random.Random(1)
    partly = 0
    for _ in range(60):
        item = [f"w{chance.randrange(30)}" for _ in range(chance.randrange(8, 45))]
        texts = []
        for _ in range(2):
            copy = [w if chance.random() < 0.88 else "x" for w in item]
            at = chance.randrange(len(copy))
            texts.append([*copy[at:], "between", *copy[: at + 3]])
        expected = by_the_rule(item, texts)
        assert share(" ".join(item), *map(" ".join, texts)) == pytest.approx(len(expected) / len(item))
        partly += 0 < len(expected) < len(item)
    assert partly > 10


def test_ten_tokens_are_too_few_and_five_differences_too_many() -> None:
    words = [f"w{i}" for i in range(40)]
    item = " ".join(words)
    assert share(item, " ".join(words[:10])) == 0
    assert share(item, " ".join(words[:11]).upper()) == pytest.approx(11 / 40)
    differ = [w if i not in (12, 14, 16, 18) else "x" for i, w in enumerate(words)]
    assert share(item, " ".join(differ)) == 1
    differ[10] = "x"  # now the fifth is at 18, and what is behind it is a span by itself
    assert share(item, " ".join(differ)) == 39 / 40
    differ[25] = "x"  # too soon for the second span
    assert share(item, " ".join(differ)) == (18 + 14) / 40
    assert share(item, "one two", "") == 0


def test_verdicts() -> None:
    assert [verdict(one) for one in (0, 0.19, 0.2, 0.79, 0.8, 1)] == [
        "clean", "clean", "not clean, not dirty", "not clean, not dirty", "dirty", "dirty",
    ]  # fmt: skip


def test_batches_join_by_or() -> None:
    items = [EvaluationItem("s", (" ".join(f"{a}{i}" for i in range(30)),)) for a in "ab"]
    overlap = TokenOverlap(items)
    texts = [items[0].texts[0], "nothing here", items[1].texts[0][:80]]
    together = overlap.contaminated(TextBatch.of(texts))
    apart = np.zeros(len(together), dtype=bool)
    for text in texts:
        apart |= overlap.contaminated(TextBatch.of([text]))
    assert np.array_equal(together, apart)
    assert overlap.shares(together)[0] == 1 and 0 < overlap.shares(together)[1] < 1
