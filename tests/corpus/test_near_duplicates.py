"""Exact and near-duplicates."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from exnihilo.corpus.deduplicate import ExactDuplicates, text_digest
from exnihilo.corpus.near_duplicates import Containment, shares_in_earlier, shingles

WORDS = [f"w{i}" for i in range(40)]


def test_corpus_8_the_survivor_does_not_depend_on_order() -> None:
    texts = [("c", "a b"), ("a", "a\n b"), ("b", "a\n b"), ("d", "other"), ("e", "a b ")]
    for order in itertools.permutations(enumerate(texts)):
        duplicates = ExactDuplicates()
        alive = {number for number, _ in order}
        for number, (identity, text) in order:
            dropped = duplicates.add(number, identity, text)
            if dropped is not None:
                alive.remove(dropped[0])
        # The longest of the equal ones, and of two as long the one with the smaller id.
        assert {texts[number][0] for number in alive} == {"a", "d"}


def test_only_white_space_is_ignored() -> None:
    assert text_digest(" a\r\n\tb ") == text_digest("a b")
    assert len({text_digest(text) for text in ("ab", "a b", "A b", "a  c", "")}) == 5


def test_shingles_are_runs_of_eight_words() -> None:
    assert len(shingles(" ".join(WORDS[:8]))) == 1
    assert len(shingles(" ".join(WORDS[:9]))) == 2
    assert len(shingles("one two")) == 1
    assert len(shingles(" \n -- ")) == 0
    # Punctuation, case and white space do not count; the order of words and their borders do.
    assert np.array_equal(shingles("The river, (slowly)\nflows!"), shingles("the RIVER slowly flows"))
    assert shingles("ab c") != shingles("a bc")
    assert shingles("one two") != shingles("two one")
    # Repeating a run adds nothing new.
    assert len(shingles(" ".join(WORDS[:8] * 50))) == 8


def test_han_counts_by_characters() -> None:
    assert len(shingles("楓落吳江冷神羊既不觸")) == 3
    assert len(shingles("楓落吳江冷，神羊既不觸。")) == 3


def test_containment_is_the_share_of_shingles_seen_in_all_training_texts_together() -> None:
    held = [
        shingles(" ".join(WORDS[:15])),
        shingles("nothing of this was ever in any training text"),
        shingles(""),
    ]
    containment = Containment(held)
    containment.see(shingles(" ".join(WORDS[:9])))  # 2 of its 8 shingles
    containment.see(shingles(" ".join(WORDS[1:10])))  # one of them again, and a third
    containment.see(shingles(""))
    assert containment.shares() == [3 / 8, 0.0, 0.0]
    assert Containment([]).shares() == []
    empty = Containment([shingles("")])
    empty.see(held[0])
    assert empty.shares() == [0.0]


def test_shares_in_earlier_texts() -> None:
    first, second = shingles(" ".join(WORDS[:15])), shingles(" ".join(WORDS[7:17]))
    assert shares_in_earlier([first, second, shingles(""), first]) == [0.0, 1 / 3, 0.0, 1.0]
    assert shares_in_earlier([]) == []


@pytest.mark.parametrize("kind", ["numbers", "random"])
def test_corpus_7_hashes_of_structured_text_do_not_collide(kind: str) -> None:
    source = random.Random(1)
    words = [str(i if kind == "numbers" else source.getrandbits(48)) for i in range(50_000)]
    hashes = shingles(" ".join(words))
    assert len(hashes) == len(words) - 7
    # Every bit is set in half of the hashes: standard error 0.0023.
    shares = [(hashes >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)]
    assert max(abs(float(share) - 0.5) for share in shares) < 0.012
