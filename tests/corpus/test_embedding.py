"""Texts as vectors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from exnihilo.corpus.embedding import SKETCH, Vectors, _Words, embed

PARTS, CHARACTERS = 3, 1500


@pytest.fixture(scope="module")
def parts(data: Path) -> list[str]:
    """Three parts of each of 160 real documents of four sources, one document after another."""
    texts = []
    for source in ("brown", "peps", "rust-rfcs", "movie-reviews"):
        with gzip.open(data / "text" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as file:
            whole = [json.loads(line)["text"] for line in file]
        long = [text for text in whole if len(text) >= PARTS * CHARACTERS][:40]
        texts += [text[i * CHARACTERS : (i + 1) * CHARACTERS] for text in long for i in range(PARTS)]
    return texts


def _recall(vectors: Vectors) -> float:
    """How many of the two nearest to each part are parts of the same document."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    near = np.argsort(-cosines, axis=1)[:, : PARTS - 1]
    return float((near // PARTS == np.arange(len(vectors))[:, None] // PARTS).mean())


def test_parts_of_one_document_find_each_other(parts: list[str]) -> None:
    reduced = embed(parts, dimensions=128)
    assert reduced.shape == (480, 128) and reduced.dtype == np.float32
    assert np.allclose(np.linalg.norm(reduced, axis=1), 1, atol=1e-5)
    # By chance it is 0.004. Folding the words into as few dimensions with no regard to the texts loses more.
    words = _Words.of(parts)
    whole = words.sketch(0, len(parts))
    folded = whole.reshape(len(parts), -1, 128).sum(axis=1)
    folded /= np.linalg.norm(folded, axis=1, keepdims=True)
    assert _recall(reduced) > max(0.6, 1.3 * _recall(folded))
    assert _recall(reduced) > 0.85 * _recall(whole)


def test_cosines_do_not_depend_on_the_order_of_texts(parts: list[str]) -> None:
    order = np.random.default_rng(1).permutation(120)
    one, other = embed(parts[:120], 64), embed([parts[i] for i in order], 64)
    assert np.abs((one @ one.T)[np.ix_(order, order)] - other @ other.T).max() < 1e-3
    assert np.array_equal(one, embed(iter(parts[:120]), 64))


def test_rare_words_weigh_more_than_common_ones() -> None:
    texts = [f"the a of river{i % 2} {' '.join(f'own{i}x{j}' for j in range(3))}" for i in range(40)]
    cosines = embed(texts, 40) @ embed(texts, 40).T
    same = np.arange(40) % 2 == np.arange(40)[:, None] % 2
    np.fill_diagonal(cosines, np.nan)
    assert np.nanmean(cosines[~same]) < 0.1 * np.nanmean(cosines[same])


def test_with_as_many_dimensions_as_texts_nothing_is_lost() -> None:
    texts = [
        "one river flows",
        "two rivers flow and flow",
        "楓落吳江冷",
        "吳江",
        "flows one RIVER",
        "100 % of 100",
    ]
    full = _Words.of(texts).sketch(0, len(texts))
    assert full.shape == (6, SKETCH)
    vectors = embed(texts, dimensions=16)
    assert vectors.shape == (6, 16) and not vectors[:, 6:].any()
    assert np.allclose(vectors @ vectors.T, full @ full.T, atol=1e-4)
    assert vectors[0] @ vectors[4] == pytest.approx(1, abs=1e-5)  # neither order nor case counts
    assert vectors[2] @ vectors[3] > 0.3  # Han counts by characters
    assert abs(vectors[0] @ vectors[2]) < 0.1


def test_a_text_without_words_is_like_nothing() -> None:
    vectors = embed(["", "a river", " \n--", "a river bed"], 8)
    assert not vectors[[0, 2]].any()
    assert np.allclose(np.linalg.norm(vectors[[1, 3]], axis=1), 1, atol=1e-5)
    assert embed([], 8).shape == (0, 8)
    assert not embed(["", "-"], 8).any()
