"""Orders by id, chance and score."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.corpus.curriculum import by_id, by_score, in_buckets, shuffled

IDS = [f"d{i:03}" for i in range(200)]
SCORES = [float(i * 37 % 50) for i in range(200)]  # each score four times


def _orders(ids: list[str], scores: list[float]) -> dict[str, list[str]]:
    orders = {
        "id": by_id(ids),
        "shuffled": shuffled(ids, 5),
        "score": by_score(ids, scores),
        "descending": by_score(ids, scores, descending=True),
        "buckets": in_buckets(ids, scores, 7, 5),
        "buckets descending": in_buckets(ids, scores, 7, 5, descending=True),
    }
    return {name: [ids[i] for i in order] for name, order in orders.items()}


def test_corpus_15_every_order_is_a_permutation_whatever_order_documents_are_given_in() -> None:
    expected = _orders(IDS, SCORES)
    for name, order in expected.items():
        assert sorted(order) == IDS, name
    given = list(range(200))
    random.Random(1).shuffle(given)
    assert _orders([IDS[i] for i in given], [SCORES[i] for i in given]) == expected


def test_ties_go_by_id_in_both_directions() -> None:
    ids, scores = ["b", "a", "d", "c"], [1.0, 1.0, 0.0, 2.0]
    assert [ids[i] for i in by_score(ids, scores)] == ["d", "a", "b", "c"]
    assert [ids[i] for i in by_score(ids, scores, descending=True)] == ["c", "a", "b", "d"]
    assert [ids[i] for i in by_score(ids, [math.inf, -math.inf, 0, 0])] == ["a", "c", "d", "b"]


def test_buckets_are_quantiles_shuffled_inside() -> None:
    ranks = np.empty(200, dtype=np.int64)
    ranks[by_score(IDS, SCORES)] = np.arange(200)
    placed = ranks[in_buckets(IDS, SCORES, 8, 1)]
    assert (placed // 25 == np.arange(200) // 25).all()
    inside = placed.reshape(8, 25) % 25
    assert (np.abs([np.corrcoef(np.arange(25), row)[0, 1] for row in inside]) < 0.7).all()
    assert len({tuple(row) for row in inside.tolist()}) == 8  # each bucket in an order of its own
    assert placed.tolist() != ranks[in_buckets(IDS, SCORES, 8, 2)].tolist()
    # As many buckets as documents leave nothing to chance, and one leaves everything.
    assert np.array_equal(in_buckets(IDS, SCORES, 200, 1), by_score(IDS, SCORES))
    assert abs(float(np.corrcoef(np.arange(200), ranks[in_buckets(IDS, SCORES, 1, 1)])[0, 1])) < 0.3
    sizes = [len(part) for part in np.array_split(in_buckets(IDS, SCORES, 7, 1), 7)]
    assert max(sizes) - min(sizes) == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(Refused, match="documents 0 and 2 have the same id 'a'"):
        by_id(["a", "b", "a"])
    with pytest.raises(Refused, match=r"shape \(1,\) for 2 documents"):
        by_score(["a", "b"], [1.0])
    with pytest.raises(Refused, match="document 'b' has the score nan"):
        by_score(["a", "b"], [1.0, math.nan])
    for buckets in (0, 3):
        with pytest.raises(ConfigError, match=f"buckets = {buckets} for 2 documents"):
            in_buckets(["a", "b"], [1.0, 2.0], buckets, 1)


def test_no_documents() -> None:
    assert by_id([]).tolist() == shuffled([], 1).tolist() == by_score([], []).tolist() == []
