"""Signatures estimate similarities, and bands find as many pairs as the formula says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from exnihilo.corpus.folded import fold
from exnihilo.corpus.minhash import band_keys, detection, shingles, signatures
from exnihilo.corpus.text_batch import TextBatch, UInt64, mixed


def sets(pairs: int, similarity: float, size: int = 300) -> tuple[UInt64, np.ndarray]:
    """Pairs of sets of `size` hashes of consecutive integers, the worst input, with a given Jaccard similarity."""
    common = round(2 * size * similarity / (1 + similarity))
    hashes, first = [], [0]
    for pair in range(pairs):
        start = pair * 4 * size
        shared = np.arange(start, start + common)
        for side in (1, 2):
            own = np.arange(start + side * size, start + side * size + size - common)
            hashes.append(np.concatenate([shared, own]))
            first.append(first[-1] + size)
    return mixed(np.concatenate(hashes).astype(np.uint64)), np.array(first)


def test_bands_of_rows_and_not_rows_of_bands() -> None:
    assert [round(detection(s, 450, 20), 2) for s in (0.7, 0.75, 0.8)] == [0.3, 0.76, 0.99]
    assert detection(0.8, 450, 20) == pytest.approx(0.995, abs=0.001)
    found = [detection(s, 14, 8) for s in (0.5, 0.7, 0.75, 0.8, 0.85)]
    assert found == pytest.approx([0.053, 0.565, 0.772, 0.924, 0.988], abs=0.0006)
    assert detection(0.8, 20, 450) < 1e-30


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.85])
def test_pairs_are_found_as_often_as_the_formula_says(similarity: float) -> None:
    pairs, bands, rows = 1500, 14, 8
    hashes, first = sets(pairs, similarity)
    keys = band_keys(signatures(hashes, first, bands * rows), bands)
    found = (keys[0::2] == keys[1::2]).any(axis=1).mean()
    exact = round(600 * similarity / (1 + similarity)) / (600 - round(600 * similarity / (1 + similarity)))
    assert found == pytest.approx(detection(exact, bands, rows), abs=0.03)


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.9])
def test_similarity_is_estimated_without_bias(similarity: float) -> None:
    hashes, first = sets(1500, similarity)
    signature = signatures(hashes, first, 112)
    exact = round(600 * similarity / (1 + similarity)) / (600 - round(600 * similarity / (1 + similarity)))
    assert abs((signature[0::2] == signature[1::2]).mean() - exact) <= 0.005


def test_shingles_of_words_in_their_order_and_of_short_texts() -> None:
    texts = ["a b c d e f", "A, b c d e!", "f e d c b a", "a b", "A b.", "b a", "", "a b c d e"]
    hashes, first = shingles(fold(TextBatch.of(texts)).batch, 5)
    by_text = [set(hashes[low:high].tolist()) for low, high in pairwise(first)]
    assert [len(one) for one in by_text] == [2, 1, 2, 1, 1, 1, 0, 1]
    assert by_text[1] < by_text[0]
    assert by_text[1] == by_text[7]
    assert not by_text[0] & by_text[2]
    assert by_text[3] == by_text[4] != by_text[5]


def test_signatures_do_not_depend_on_the_batch() -> None:
    texts = [f"text {i} has some {i * i} words and {'many ' * i} more" for i in range(40)] + [""]
    together = signatures(*shingles(fold(TextBatch.of(texts)).batch, 3), 32)
    alone = [signatures(*shingles(fold(TextBatch.of([text])).batch, 3), 32)[0] for text in texts]
    assert np.array_equal(together, np.stack(alone))
    assert (together[-1] == 0xFFFFFFFF).all()
    assert not np.array_equal(together, signatures(*shingles(fold(TextBatch.of(texts)).batch, 3), 32, seed=2))
