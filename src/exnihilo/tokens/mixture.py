"""Weights of several sources turned into exact, evenly spread turns."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exnihilo.core.errors import ConfigError

CYCLE = 1 << 16  # turns after which the pattern repeats at the latest: any share is met within 0.0015 points

Int64Array = npt.NDArray[np.int64]


def normalised(weights: Sequence[float]) -> list[float]:
    """The weights divided by their sum.

    Raises:
        ConfigError: a weight is negative or not finite, or all are 0.
    """
    for i, weight in enumerate(weights):
        if not math.isfinite(weight) or weight < 0:
            raise ConfigError(f"weights[{i}] = {weight}: a weight is a finite number of at least 0")
    total = math.fsum(weights)
    if total == 0:
        raise ConfigError("weights: all are 0; give at least one source a positive weight")
    return [weight / total for weight in weights]


def quotas(weights: Sequence[float], total: int) -> Int64Array:
    """`total` turns apportioned by largest remainder: int64[sources], each within 1 of its exact share.

    Raises:
        ConfigError: as `normalised`.
    """
    exact = np.asarray(normalised(weights)) * total
    whole: Int64Array = np.floor(exact).astype(np.int64)
    # A stable sort: of equal remainders the earlier source wins.
    neediest = np.argsort(-(exact - whole), kind="stable")
    whole[neediest[: total - int(whole.sum())]] += 1
    return whole


class Interleave:
    """Whose turn it is, for every turn from 0 on, and how many turns that source has had before.

    After any number of turns every source is less than one turn from its share.

    Raises:
        ConfigError: as `normalised`, or a positive weight is too small to get a turn in a cycle.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = normalised(weights)
        self.cycle = _exact_cycle(self.weights)
        self.quotas = quotas(self.weights, self.cycle)
        for i, (weight, quota) in enumerate(zip(self.weights, self.quotas, strict=True)):
            if weight > 0 and quota == 0:
                raise ConfigError(
                    f"weights[{i}] (by size, if none were given) is {weight:.2g} of the sum: "
                    f"give at least 1/{CYCLE}, or 0"
                )
        self._source = _spread(self.quotas.tolist())
        self._turns = [np.flatnonzero(self._source == i) for i in range(len(weights))]
        self._rank = np.empty(self.cycle, dtype=np.int64)
        for turns in self._turns:
            self._rank[turns] = np.arange(turns.size)

    def locate(self, turns: Int64Array) -> tuple[Int64Array, Int64Array]:
        """For each turn the source, and the number of that source's turns before it."""
        cycle, slot = np.divmod(turns, self.cycle)
        source = self._source[slot]
        return source, cycle * self.quotas[source] + self._rank[slot]

    def counts(self, total: int) -> Int64Array:
        """Turns of each source among the first `total`, int64[sources]."""
        cycles, rest = divmod(total, self.cycle)
        partial = [np.searchsorted(turns, rest) for turns in self._turns]
        return cycles * self.quotas + np.asarray(partial, dtype=np.int64)


def _exact_cycle(weights: list[float]) -> int:
    """The fewest turns in which every source gets a whole number (10 for 0.7 and 0.3), or `CYCLE`."""
    turns = np.arange(1, CYCLE)
    exact = np.ones(turns.size, dtype=bool)
    for weight in weights:
        share = turns * weight
        exact &= (np.abs(share - np.round(share)) < 1e-6) & ((weight == 0) | (share > 0.5))
    return int(turns[np.argmax(exact)]) if exact.any() else CYCLE


def _spread(quotas: list[int]) -> Int64Array:
    """The source of every turn of a cycle, in integers: earliest deadline first.

    With k sources, counts stay within 1 - 1/(2k - 2) of their shares if each turn lies in the window that
    this bound leaves it, and such a plan always exists (Tijdeman, The chairman assignment problem, Discrete
    Mathematics 32, 1980). Placing the j-th of q turns at (j + 1/2) / q is simpler, but strays by 1.2 with 22
    sources.
    """
    cycle = sum(quotas)
    parts = max(2, 2 * (sum(quota > 0 for quota in quotas) - 1))
    waiting = [(_opens(0, quota, cycle, parts), i) for i, quota in enumerate(quotas) if quota]
    heapq.heapify(waiting)
    ready: list[tuple[int, int]] = []
    taken = [0] * len(quotas)
    order = np.empty(cycle, dtype=np.int64)
    for turn in range(cycle):
        while waiting and waiting[0][0] <= turn:
            _, i = heapq.heappop(waiting)
            deadline = ((taken[i] + 1) * parts - 1) * cycle // (parts * quotas[i])
            heapq.heappush(ready, (deadline, i))
        _, i = heapq.heappop(ready)
        order[turn] = i
        taken[i] += 1
        if taken[i] < quotas[i]:
            heapq.heappush(waiting, (_opens(taken[i], quotas[i], cycle, parts), i))
    return order


def _opens(j: int, quota: int, cycle: int, parts: int) -> int:
    """The first turn, from 0, for the j-th of a source: ceil((j + 1/parts) / quota * cycle) - 1."""
    return -(-(j * parts + 1) * cycle // (parts * quota)) - 1
