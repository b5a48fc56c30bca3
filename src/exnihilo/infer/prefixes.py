"""Which prompts begin alike: a tree of the beginnings that are worth computing once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from exnihilo.infer.pool import common

# A beginning is worth a pass of its own if that saves so many tokens: a pass over few tokens takes as long as
# reading the weights, and a pass over about 16 tokens does not take much longer.
SAVED_TOKENS = 16


@dataclass(eq=False)
class Node:
    """Tokens `[start, stop)` that all of `rows` have in common, after the parent's."""

    rows: list[int]
    start: int
    stop: int
    children: list[Node] = field(default_factory=list)


def prefix_tree(prompts: Sequence[Sequence[int]], start: int = 0) -> list[Node]:
    """The topmost nodes for prompts that all have the same first `start` tokens."""
    top: list[Node] = []
    order = sorted(range(len(prompts)), key=lambda i: list(prompts[i]))
    waiting = [(order, start, top)]
    while waiting:
        rows, start, nodes = waiting.pop()
        if len(rows) < 2:
            continue
        stop = common(prompts[rows[0]], prompts[rows[-1]])
        if (len(rows) - 1) * (stop - start) >= SAVED_TOKENS:
            node = Node(rows, start, stop)
            nodes.append(node)
            start, nodes = stop, node.children
        longer = [i for i in rows if len(prompts[i]) > stop]
        branches = [list(branch) for _, branch in groupby(longer, key=lambda i: prompts[i][stop])]
        waiting += [(branch, start, nodes) for branch in branches]
    return top


def read_together(nodes: Sequence[Node], gain: Callable[[Node], int]) -> list[Node]:
    """The nodes whose tokens should be read once for all their rows: those that gain most, none inside another."""
    chosen, _ = _best(nodes, gain)
    return chosen


def _best(nodes: Sequence[Node], gain: Callable[[Node], int]) -> tuple[list[Node], int]:
    chosen, total = [], 0
    for node in nodes:
        inside, gained = _best(node.children, gain)
        if gain(node) >= max(gained, 1):
            inside, gained = [node], gain(node)
        chosen += inside
        total += gained
    return chosen, total
