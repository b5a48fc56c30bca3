"""What may follow in an expression: its partial derivatives by a byte, and how far its shortest text reaches.

Partial derivatives (Antimirov, 1996) make an automaton out of an expression state by state, as states are
reached: nothing is built that no text needs, counted repetition costs nothing in advance, and a rule that
contains itself needs no stack, since what is still owed is the rest of the expression.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

from exnihilo.core.errors import ConfigError
from exnihilo.infer.expressions import (
    Both,
    Bytes,
    Chain,
    Either,
    Expressions,
    Literal,
    Repeat,
    Rule,
    Term,
)

Arc = tuple[int, int, frozenset[Term]]
"""After a byte from the first to the second, any of these terms may follow."""

# Pairs of what two expressions still want that are looked at to see how both can end: half a second.
MAX_PAIRS = 100_000


class Derivatives:
    """Derivatives of the terms of one table, for texts over `alphabet` (the bytes that can be written)."""

    def __init__(self, expressions: Expressions, alphabet: frozenset[int] = frozenset(range(256))) -> None:
        self._x = expressions
        self._runs = _runs(alphabet)
        self._shortest: dict[Term, float] = {}
        self._arcs: dict[Term, list[Arc]] = {}
        self._rules: list[dict[str, float]] = []
        self._settle_rules()

    def _settle_rules(self) -> None:
        """The shortest text of each rule by depth, up to the depth from which it stays the same.

        A shortest text never nests a rule within itself, so that this ends by the number of rules.
        """
        while len(self._rules) < 2 or self._rules[-1] != self._rules[-2]:
            depth = len(self._rules)
            self._rules.append(
                {name: self.shortest(self._x.body(Rule(name, depth))) for name in self._x.rules}
            )

    def shortest(self, term: Term) -> float:
        """Bytes of the shortest text of a term; 0 where the empty text matches, infinite where none does.

        Raises ConfigError where two expressions that must both match have too many states.
        """
        # A chain may be longer than the interpreter's stack is deep, so its tails are not recursion.
        heads: list[tuple[Term, Term]] = []
        while term not in self._shortest and isinstance(node := self._x.nodes[term], Chain):
            heads.append((term, node.head))
            term = node.tail
        if term not in self._shortest:
            self._shortest[term] = self._measure(term)
        length = self._shortest[term]
        for chain, head in reversed(heads):
            length = self._shortest[chain] = self.shortest(head) + length
        return length

    def _measure(self, term: Term) -> float:
        match self._x.nodes[term]:
            case Literal(text):
                return len(text) if all(self._clip(byte, byte) for byte in text) else math.inf
            case Bytes(arcs):
                return min(
                    (1 + self.shortest(rest) for low, high, rest in arcs if self._clip(low, high)),
                    default=math.inf,
                )
            case Either(options):
                return min(map(self.shortest, options), default=math.inf)
            case Repeat(body, low, _):
                return low * self.shortest(body) if low else 0
            case Both():
                return self._shortest_of_both(term)
            case Rule(name, depth):
                return self._rules[min(depth, len(self._rules) - 1)][name]
        raise AssertionError(f"term {term} is a chain")

    def arcs(self, term: Term) -> list[Arc]:
        """What may follow, by byte: sorted, apart, and only terms that some text matches."""
        known = self._arcs.get(term)
        if known is None:
            found = []
            for low, high, rests in self._raw_arcs(term):
                rests = frozenset(rest for rest in rests if self.shortest(rest) < math.inf)
                if rests:
                    found.append((low, high, rests))
            known = self._arcs[term] = found
        return known

    def _raw_arcs(self, term: Term) -> list[Arc]:
        node = self._x.nodes[term]
        match node:
            case Literal(text):
                rest = frozenset([self._x.literal(text[1:])])
                return [(low, high, rest) for low, high in self._clip(text[0], text[0])] if text else []
            case Bytes(arcs):
                return [
                    (low, high, frozenset([rest]))
                    for first, last, rest in arcs
                    for low, high in self._clip(first, last)
                ]
            case Chain():
                return self._chain_arcs(term)
            case Either(options):
                return merge([arc for option in sorted(options) for arc in self.arcs(option)])
            case Repeat(body, least, most):
                rest_of = self._x.repeat(body, max(least - 1, 0), None if most is None else most - 1)
                return self._before(self.arcs(body), rest_of)
            case Both(left, right):
                return self._both_arcs(self.arcs(left), self.arcs(right))
            case Rule():
                return self.arcs(self._x.body(node))
        raise AssertionError(node)

    def _chain_arcs(self, term: Term) -> list[Arc]:
        found: list[Arc] = []
        while isinstance(node := self._x.nodes[term], Chain):
            found += self._before(self.arcs(node.head), node.tail)
            if self.shortest(node.head) > 0:
                return merge(found)
            term = node.tail
        return merge([*found, *self.arcs(term)])

    def _before(self, arcs: Iterable[Arc], tail: Term) -> list[Arc]:
        return [
            (low, high, frozenset(self._x.chain(rest, tail) for rest in rests)) for low, high, rests in arcs
        ]

    def _both_arcs(self, left: list[Arc], right: list[Arc]) -> list[Arc]:
        return [
            (max(low, first), min(high, last), frozenset(self._x.both(a, b) for a in one for b in two))
            for low, high, one in left
            for first, last, two in right
            if low <= last and first <= high
        ]

    def _clip(self, low: int, high: int) -> list[tuple[int, int]]:
        """The parts of a range of bytes that the alphabet has."""
        return [
            (max(low, first), min(high, last)) for first, last in self._runs if low <= last and first <= high
        ]

    def _shortest_of_both(self, start: Term) -> float:
        """Breadth-first over all pairs that can follow, then back from those that may end."""
        before: dict[Term, list[Term]] = defaultdict(list)
        seen, waiting = {start}, deque([start])
        while waiting:
            term = waiting.popleft()
            for rest in {rest for _, _, rests in self._raw_arcs(term) for rest in rests}:
                before[rest].append(term)
                if rest not in seen:
                    seen.add(rest)
                    if isinstance(self._x.nodes[rest], Both):
                        waiting.append(rest)
            if len(seen) > MAX_PAIRS:
                raise ConfigError(
                    f"two conditions on one text need more than {MAX_PAIRS:,} states together; "
                    "drop one of them (a pattern, or a length) or write both as one pattern"
                )
        lengths: dict[Term, float] = {}
        by_length: dict[float, set[Term]] = defaultdict(set)
        for term in seen:
            by_length[self._known_end(term)].add(term)
        while reached := sorted(length for length in by_length if length < math.inf):
            for term in by_length.pop(reached[0]):
                if term not in lengths:
                    lengths[term] = reached[0]
                    by_length[reached[0] + 1].update(before[term])
        for term in seen:
            self._shortest[term] = lengths.get(term, math.inf)
        return self._shortest[start]

    def _known_end(self, term: Term) -> float:
        """Shortest text of what is no pair; of a pair 0 where both may end, else unknown as yet."""
        node = self._x.nodes[term]
        if not isinstance(node, Both):
            return self.shortest(term)
        return 0 if self.shortest(node.left) == self.shortest(node.right) == 0 else math.inf


def merge(arcs: Sequence[Arc]) -> list[Arc]:
    """The same arcs, sorted and apart: where ranges overlap, their terms are joined."""
    ordered = sorted(arcs, key=lambda arc: arc[:2])
    if all(one[1] < other[0] for one, other in pairwise(ordered)):
        return ordered
    bounds = sorted({low for low, _, _ in arcs} | {high + 1 for _, high, _ in arcs})
    merged: list[Arc] = []
    active: list[Arc] = []
    waiting = deque(ordered)
    for start, end in pairwise(bounds):
        active = [arc for arc in active if arc[1] >= start]
        while waiting and waiting[0][0] == start:
            active.append(waiting.popleft())
        if active:
            merged.append((start, end - 1, frozenset().union(*(rests for _, _, rests in active))))
    return merged


def _runs(alphabet: frozenset[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for byte in sorted(alphabet):
        if runs and runs[-1][1] == byte - 1:
            runs[-1] = runs[-1][0], byte
        else:
            runs.append((byte, byte))
    return runs
