"""The bytes of all tokens as a trie in flat arrays, walked through an automaton a level at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from exnihilo.infer.byte_automaton import DEAD, ByteAutomaton


class TokenTrie:
    """The tokens of a vocabulary by their bytes.

    Nodes are numbered level by level, and so the children of a node stand together. A walk handles all nodes
    of a level at once, and only those that the automaton reaches.

    Attributes:
        token_bytes: bytes of each id; `b""` for tokens that are not text.
    """

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self.token_bytes = token_bytes
        lengths = np.array([len(token) for token in token_bytes], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        text = np.frombuffer(b"".join(token_bytes), dtype=np.uint8)
        self._node = np.zeros(len(token_bytes), dtype=np.int64)
        parents, values, nodes = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)], 1
        for level in range(int(lengths.max(initial=0))):
            longer = np.flatnonzero(lengths > level)
            keys = self._node[longer] * 256 + text[starts[longer] + level]
            made, place = np.unique(keys, return_inverse=True)
            self._node[longer] = nodes + place
            parents.append(made // 256)
            values.append(made % 256)
            nodes += len(made)
        self._byte = np.concatenate(values)
        bounds = np.searchsorted(np.concatenate(parents), np.arange(nodes + 1)) + 1
        self._first_child, self._children = bounds[:-1], np.diff(bounds)
        self._silent = np.flatnonzero(lengths == 0)

    def __len__(self) -> int:
        return len(self.token_bytes)

    def alphabet(self, left_out: Iterable[int] = ()) -> frozenset[int]:
        """The bytes that a token of their own can write, without the tokens `left_out`."""
        omitted = set(left_out)
        return frozenset(
            token[0] for i, token in enumerate(self.token_bytes) if len(token) == 1 and i not in omitted
        )

    def walk(self, automaton: ByteAutomaton, state: int) -> np.ndarray:
        """The state after each token, int32 `[tokens]`; `DEAD` for tokens that cannot follow."""
        reached = np.full(len(self._byte), DEAD, dtype=np.int32)
        reached[0] = state
        alive = np.zeros(1, dtype=np.int64)
        while len(alive):
            states = reached[alive]
            automaton.expand(states)
            counts = self._children[alive]
            first = np.repeat(self._first_child[alive] - (np.cumsum(counts) - counts), counts)
            children = first + np.arange(len(first))
            found = automaton.table[np.repeat(states, counts), self._byte[children]]
            open_ = found != DEAD
            alive = children[open_]
            reached[alive] = found[open_]
        after = reached[self._node]
        after[self._silent] = DEAD
        return after
