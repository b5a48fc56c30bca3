"""A deterministic automaton over bytes whose states are made when they are first reached."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from exnihilo.core.errors import ConfigError
from exnihilo.infer.derivatives import Arc, Derivatives, merge
from exnihilo.infer.expressions import Pattern, Term

DEAD = -1
# Terms of one state: how many ways the text so far can be read. Beyond it, as in (a{0,99}){0,99}, only the
# ways nearest to the end are followed: fewer texts can be written then, and every one still matches.
MAX_TERMS = 2**12
# States after which one way each is followed. A state takes 1 KiB once it is expanded, and a text of 1,000
# tokens under a JSON schema reaches a few thousand.
MAX_STATES = 2**18


class ByteAutomaton:
    """The states of a pattern: sets of terms, numbered as they are met.

    No state is ever made from which the pattern cannot be completed with bytes of `alphabet`, so that every
    way that is open leads to an end.

    Attributes:
        start: state of the empty text.
        table: int32 `[states, 256]`, the next state by byte or `DEAD`; rows are valid once expanded.
        distance: int64 `[states]`, bytes of the shortest text that completes the pattern; 0 accepts.
    """

    def __init__(self, pattern: Pattern, alphabet: frozenset[int] = frozenset(range(256))) -> None:
        self._derivatives = Derivatives(pattern.expressions, alphabet)
        if self._derivatives.shortest(pattern.root) == math.inf:
            raise ConfigError(
                "no text at all matches the pattern"
                + ("" if len(alphabet) == 256 else " with the bytes that the tokenizer has")
                + "; its conditions contradict each other"
            )
        self._states: list[frozenset[Term]] = []
        self._numbers: dict[frozenset[Term], int] = {}
        self.table = np.full((64, 256), DEAD, dtype=np.int32)
        self.distance = np.zeros(64, dtype=np.int64)
        self._expanded = np.zeros(64, dtype=bool)
        self.start = self._number(frozenset([pattern.root]))

    def __len__(self) -> int:
        """States so far."""
        return len(self._states)

    def accepting(self, state: int) -> bool:
        """Whether the text so far is complete."""
        return bool(self.distance[state] == 0)

    def step(self, state: int, byte: int) -> int:
        """The state after one byte, or `DEAD`."""
        if state == DEAD:
            return DEAD
        if not self._expanded[state]:
            self._expand(state)
        return int(self.table[state, byte])

    def expand(self, states: np.ndarray) -> None:
        """Fill the rows of these states (int `[N]`) in `table`."""
        for state in np.unique(states[~self._expanded[states]]).tolist():
            self._expand(state)

    def _expand(self, state: int) -> None:
        terms = sorted(self._states[state])
        arcs: Sequence[Arc] = self._derivatives.arcs(terms[0])
        if len(terms) > 1:
            arcs = merge([arc for term in terms for arc in self._derivatives.arcs(term)])
        row = np.full(256, DEAD, dtype=np.int32)
        for low, high, rests in arcs:
            row[low : high + 1] = self._number(rests)
        self.table[state] = row
        self._expanded[state] = True

    def _number(self, terms: frozenset[Term]) -> int:
        most = MAX_TERMS if len(self._states) < MAX_STATES else 1
        if len(terms) > most:
            nearest = sorted(terms, key=lambda term: (self._derivatives.shortest(term), term))
            terms = frozenset(nearest[:most])
        known = self._numbers.get(terms)
        if known is not None:
            return known
        number = len(self._states)
        if number == len(self.table):
            self.table = np.concatenate([self.table, np.full_like(self.table, DEAD)])
            self.distance = np.concatenate([self.distance, np.zeros_like(self.distance)])
            self._expanded = np.concatenate([self._expanded, np.zeros_like(self._expanded)])
        self._states.append(terms)
        self._numbers[terms] = number
        self.distance[number] = int(min(map(self._derivatives.shortest, terms)))
        return number
