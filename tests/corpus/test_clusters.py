"""Linked texts, and the one that stays."""

from __future__ import annotations

import numpy as np

from exnihilo.corpus.clusters import components, survivors


def test_chains_are_one_group_whatever_their_order() -> None:
    random = np.random.default_rng(3)
    chain = random.permutation(500)
    pairs = np.stack([chain[:-1], chain[1:]], axis=1)
    pairs = pairs[np.arange(len(pairs)) != 250]  # two chains
    label = components(random.permutation(pairs), 502)
    assert label[500] == 500 and label[501] == 501
    assert set(label[chain[:251]]) == {chain[:251].min()}
    assert set(label[chain[251:]]) == {chain[251:].min()}


def test_random_graphs_against_a_search() -> None:
    random = np.random.default_rng(4)
    for texts, links in ((1, 0), (10, 4), (200, 120), (200, 400)):
        pairs = random.integers(0, texts, size=(links, 2))
        expected = list(range(texts))
        for _ in range(texts):
            for a, b in pairs.tolist():
                expected[a] = expected[b] = min(expected[a], expected[b])
        assert components(pairs, texts).tolist() == expected


def test_the_best_stays_and_not_the_first() -> None:
    label = np.array([0, 0, 2, 0, 2])
    ranks = [(-1.0, "c"), (-3.0, "b"), (-2.0, "z"), (-3.0, "a"), (-2.0, "y")]
    assert survivors(label, ranks).tolist() == [False, False, False, True, True]
