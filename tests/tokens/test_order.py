from __future__ import annotations

import numpy as np
import pytest

from exnihilo.core.seeds import derive
from exnihilo.tokens.order import Permutation


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 1000, 1024, 99_991, 1 << 20])
def test_every_index_comes_once(n: int) -> None:
    order = Permutation(n, seed=7).all()
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))


def test_any_index_can_be_had_alone() -> None:
    permutation = Permutation(99_991, seed=3)
    order = permutation.all()
    picked = np.array([[0, 17], [99_990, 50_000]])
    assert np.array_equal(permutation(picked), order[picked])
    assert permutation(5) == order[5]


def test_the_order_differs_by_seed_and_epoch() -> None:
    orders = [Permutation(1000, derive(seed, epoch)).all() for seed in (1, 2) for epoch in (0, 1, 2)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            # Two random orders of 1,000 agree in one place on average.
            assert (one == other).sum() < 12


def test_all_orders_of_three_occur() -> None:
    seen = {tuple(Permutation(3, seed).all()) for seed in range(100)}
    assert len(seen) == 6


def test_neighbours_are_scattered() -> None:
    order = Permutation(10_000, seed=0).all()
    assert abs(np.corrcoef(np.arange(10_000), order)[0, 1]) < 0.04  # 4 standard deviations of a random order
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.04


def test_nothing_to_order_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 elements"):
        Permutation(0, seed=1)
