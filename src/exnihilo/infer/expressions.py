"""Regular expressions over bytes as values: what regexes and JSON schemas are compiled to.

An expression is a number (`Term`) in the table of its `Expressions`. Equal expressions have equal numbers, so
that sets of them are sets of numbers. Beside what is regular there is `Rule`, a named expression that may
contain itself down to a given depth: what JSON within JSON needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NewType

from exnihilo.infer.characters import ByteTree, Ranges, utf8

Term = NewType("Term", int)
EMPTY = Term(0)
"""The empty text."""
NOTHING = Term(1)
"""No text at all."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Exactly these bytes."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Bytes:
    """One byte of a range, then that range's term; the ranges are sorted and apart."""

    arcs: tuple[tuple[int, int, Term], ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """`head`, then `tail`; `head` is no chain itself."""

    head: Term
    tail: Term


@dataclass(frozen=True, slots=True)
class Either:
    """One of these."""

    options: frozenset[Term]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`body` from `low` to `high` times; None is without end."""

    body: Term
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Both:
    """Texts that both match."""

    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of that name, which may use rules of `depth` - 1."""

    name: str
    depth: int


Node = Literal | Bytes | Chain | Either | Repeat | Both | Rule


class Expressions:
    """The table of terms, and how to make them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.rules: dict[str, Callable[[int], Term]] = {}
        self._terms: dict[Node, Term] = {}
        self._bodies: dict[Rule, Term] = {}
        self._add(Literal(b""))
        self._add(Either(frozenset()))

    def _add(self, node: Node) -> Term:
        term = self._terms.get(node)
        if term is None:
            term = self._terms[node] = Term(len(self.nodes))
            self.nodes.append(node)
        return term

    def literal(self, text: str | bytes) -> Term:
        """Exactly this text."""
        return self._add(Literal(text.encode() if isinstance(text, str) else text))

    def characters(self, ranges: Ranges) -> Term:
        """One character of a set."""
        return self._tree(utf8(ranges))

    def _tree(self, tree: ByteTree) -> Term:
        arcs = tuple((low, high, EMPTY if rest is None else self._tree(rest)) for low, high, rest in tree)
        return self._add(Bytes(arcs)) if arcs else NOTHING

    def words(self, texts: Collection[bytes]) -> Term:
        """One of these short texts, read as a trie: however many they are, there is one way to read each."""
        rests: dict[int, set[bytes]] = defaultdict(set)
        for text in texts:
            if text:
                rests[text[0]].add(text[1:])
        arcs: list[tuple[int, int, Term]] = []
        for byte in sorted(rests):
            rest = self.words(rests[byte])
            if arcs and arcs[-1][1:] == (byte - 1, rest):
                arcs[-1] = arcs[-1][0], byte, rest
            else:
                arcs.append((byte, byte, rest))
        word = self._add(Bytes(tuple(arcs))) if arcs else NOTHING
        return self.optional(word) if b"" in texts else word

    def chain(self, *parts: Term) -> Term:
        """One after the other."""
        result = EMPTY
        for part in reversed(parts):
            if result == EMPTY:
                result = part  # not taken apart: it may be all that a deep value still owes
                continue
            heads, rest = [], part
            while isinstance(node := self.nodes[rest], Chain):
                heads.append(node.head)
                rest = node.tail
            for head in (rest, *reversed(heads)):
                result = self._join(head, result)
        return result

    def _join(self, head: Term, tail: Term) -> Term:
        if NOTHING in (head, tail):
            return NOTHING
        if EMPTY in (head, tail):
            return tail if head == EMPTY else head
        match self.nodes[head], self.nodes[tail]:
            case Literal(one), Literal(two):
                return self.literal(one + two)
            case Literal(one), Chain(next_head, rest):
                following = self.nodes[next_head]
                if isinstance(following, Literal):
                    return self._add(Chain(self.literal(one + following.text), rest))
        return self._add(Chain(head, tail))

    def either(self, *options: Term) -> Term:
        """Any one of them."""
        flat: set[Term] = set()
        for option in options:
            node = self.nodes[option]
            flat |= node.options if isinstance(node, Either) else {option}
        return flat.pop() if len(flat) == 1 else self._add(Either(frozenset(flat)))

    def optional(self, body: Term) -> Term:
        """It, or the empty text."""
        return self.either(EMPTY, body)

    def repeat(self, body: Term, low: int = 0, high: int | None = None) -> Term:
        """`low` to `high` of it in a row."""
        if high == 0 or body == EMPTY:
            return EMPTY
        if body == NOTHING:
            return NOTHING if low else EMPTY
        return body if low == high == 1 else self._add(Repeat(body, low, high))

    def both(self, left: Term, right: Term) -> Term:
        """What left and right both match."""
        if NOTHING in (left, right):
            return NOTHING
        if left == right:
            return left
        return self._add(Both(min(left, right), max(left, right)))

    def define(self, name: str, build: Callable[[int], Term]) -> None:
        """Name a rule; `build(depth)` makes its body, in which other rules have a depth below `depth`."""
        self.rules[name] = build

    def rule(self, name: str, depth: int) -> Term:
        """The rule of that name; below depth 0 nothing matches."""
        return self._add(Rule(name, depth)) if depth >= 0 else NOTHING

    def body(self, rule: Rule) -> Term:
        """What the rule stands for."""
        if rule not in self._bodies:
            self._bodies[rule] = self.rules[rule.name](rule.depth)
        return self._bodies[rule]


@dataclass(frozen=True)
class Pattern:
    """The texts that `root` matches as a whole."""

    expressions: Expressions
    root: Term
