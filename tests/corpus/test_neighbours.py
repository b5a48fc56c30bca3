"""Nearest neighbours, exact and by an inverted file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from exnihilo.corpus import neighbours
from exnihilo.corpus.embedding import Vectors, embed
from exnihilo.corpus.neighbours import Neighbours, exact, inverted_file, nearest


def _random(count: int, dimensions: int = 16, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _recall(found: Neighbours, truth: Neighbours) -> float:
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found.ids, truth.ids, strict=True)]
    return sum(shared) / truth.ids.size


def test_exact_neighbours_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _random(300)
    cosines = vectors.astype(np.float64) @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.argsort(-cosines, axis=1)[:, :7]
    for block in (1 << 23, 700, 1):  # all at once, two rows, one row
        monkeypatch.setattr(neighbours, "_BLOCK", block)
        found = exact(vectors, 7)
        assert np.array_equal(found.ids, expected)
        assert np.allclose(found.cosines, np.take_along_axis(cosines, expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("search", [exact, inverted_file])
def test_of_equally_near_ones_the_first_come_first(search: object) -> None:
    assert callable(search)
    # Powers of two, so that sums are exact: 40 documents in two places, half of them with nothing at all.
    vectors = np.zeros((60, 4), dtype=np.float32)
    vectors[:20, 0] = vectors[20:40, 1] = 1
    found = search(vectors, 3)
    assert found.ids[0].tolist() == [1, 2, 3] and found.ids[1].tolist() == [0, 2, 3]
    assert found.ids[39].tolist() == [20, 21, 22]
    assert found.cosines[:40].tolist() == [[1, 1, 1]] * 40
    assert found.cosines[40:].tolist() == [[0, 0, 0]] * 20


@pytest.mark.parametrize("search", [exact, inverted_file])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 50])
def test_each_has_k_others_or_all(search: object, count: int) -> None:
    assert callable(search)
    for k in (1, 4, 49, 60):
        found = search(_random(count), k)
        assert found.ids.shape == found.cosines.shape == (count, max(0, min(k, count - 1)))
        for number, others in enumerate(found.ids.tolist()):
            assert number not in others and len(set(others)) == len(others)
        assert (np.diff(found.cosines, axis=1) <= 0).all()


def test_lists_that_hold_too_few_are_not_the_only_ones_searched() -> None:
    # One probe would find a list's own documents alone, and most lists here hold one or two.
    found = inverted_file(_random(80), 30, probes=1)
    assert all(len(set(others)) == 30 for others in found.ids.tolist())
    assert np.isfinite(found.cosines).all()


def test_recall_of_the_inverted_file_on_real_text(data: Path) -> None:
    texts: list[str] = []
    for source in ("brown", "rust-rfcs", "movie-reviews"):
        with gzip.open(data / "text" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as file:
            whole = [json.loads(line)["text"] for line in file]
        texts += [
            text[i : i + 500] for text in whole[:330] for i in range(0, 2000, 500) if len(text) > i + 250
        ]
    vectors = embed(texts, 128)
    truth = exact(vectors, 20)
    found = inverted_file(vectors, 20, seed=3)
    assert _recall(found, truth) >= 0.9
    # The search is what earns it: in the nearest two lists alone, too many are missing.
    assert _recall(inverted_file(vectors, 20, seed=3, probes=2), truth) < 0.6
    again = inverted_file(vectors, 20, seed=3)
    assert np.array_equal(again.ids, found.ids) and np.array_equal(again.cosines, found.cosines)


def test_many_documents_are_searched_by_an_inverted_file(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _random(400, 32)
    assert np.array_equal(nearest(vectors, 5).ids, exact(vectors, 5).ids)
    monkeypatch.setattr(neighbours, "EXACT", 399)
    monkeypatch.setattr(neighbours, "PROBES", 1)
    assert np.array_equal(nearest(vectors, 5, seed=2).ids, inverted_file(vectors, 5, seed=2).ids)
