"""Orders cut into contexts."""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.contexts import contexts, nearest_contexts, shuffled_contexts
from exnihilo.corpus.neighbours import exact

SIZES = np.array([3, 3, 3, 20, 1, 6, 5, 5, 2], dtype=np.int64)


def _lists(found: list[np.ndarray]) -> list[list[int]]:
    return [context.tolist() for context in found]


def test_documents_stay_whole_and_in_their_order() -> None:
    paths = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5, 6]), np.array([7, 8])]
    # 3 + 3 + 3 fit into 10; 20 does not fit anywhere, and stands alone; a path's end does not end a context.
    assert _lists(contexts(paths, SIZES, 10)) == [[0, 1, 2], [3], [4, 5], [6, 7], [8]]
    assert _lists(contexts(paths, SIZES, 1)) == [[i] for i in range(9)]
    assert _lists(contexts(paths, SIZES, 1000)) == [list(range(9))]
    assert contexts([], SIZES, 10) == []


def test_corpus_15_contexts_are_shuffled_and_not_documents() -> None:
    sizes = np.full(300, 4)
    cut = contexts([np.random.default_rng(1).permutation(300)], sizes, 12)
    placed = shuffled_contexts(cut, seed=1)
    assert sorted(_lists(placed)) == sorted(_lists(cut)) and _lists(placed) != _lists(cut)
    assert _lists(placed) == _lists(shuffled_contexts(cut, seed=1)) != _lists(shuffled_contexts(cut, seed=2))
    assert sorted(np.concatenate(placed).tolist()) == list(range(300))
    assert shuffled_contexts([], 1) == []


def test_nearest_contexts_repeat_documents() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 4), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found, sizes = exact(rows, 5), np.full(200, 10)
    placed = nearest_contexts(found, sizes, 40, seed=1)
    assert all(context.tolist() == [context[0], *found.ids[context[0]][:3]] for context in placed)
    assert len(placed) == 50  # as many tokens as all documents have
    first = [int(context[0]) for context in placed]
    assert len(set(first)) == 50 and first != sorted(first)
    assert len(np.unique(np.concatenate(placed))) < 150  # of a permutation it would be all 200
    assert _lists(placed) == _lists(nearest_contexts(found, sizes, 40, seed=1))
    assert _lists(placed) != _lists(nearest_contexts(found, sizes, 40, seed=2))
