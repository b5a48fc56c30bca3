r"""Constrained decoding: which tokens may come next so that the text matches a pattern.

    pattern = regex(r"\d{4}-\d\d")            # or choice([...]), json_schema({...}), json_object()
    automaton = TokenAutomaton(pattern, TokenTrie(tokenizer.token_bytes), end_ids)
    state = automaton.start
    logits.masked_fill_(~automaton.allowed(state, budget=tokens_left), -inf)
    state = automaton.advance(state, token)

The automaton works on bytes, since a token may be a part of a character (arXiv 2307.09702 lifts automata to
tokens in this way). Masks are made when a state is first asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exnihilo.core.errors import ConfigError
from exnihilo.infer.byte_automaton import DEAD, ByteAutomaton
from exnihilo.infer.expressions import Pattern
from exnihilo.infer.token_trie import TokenTrie

# Masks and next states that are kept: 5 bytes a token and state, 250 states of a vocabulary of 100,000.
KEPT_BYTES = 2**27


@dataclass(frozen=True)
class _Next:
    """What may follow a state: next state by token, the mask, and bytes to the end from the furthest."""

    after: np.ndarray
    mask: Tensor
    furthest: int


class TokenAutomaton:
    """The texts of a pattern, token by token. States are numbers; any number of texts may share it.

    A token is allowed when its bytes can begin, go on with or complete a text of the pattern, whatever the
    borders of characters. `end_ids` are allowed exactly where the text is complete, tokens without bytes
    never. From every state that is reached some text of single-byte tokens leads to the end.

    Args:
        pattern: from `regex`, `choice`, `json_schema` or `json_object`.
        trie: the tokenizer's tokens; make it once for a tokenizer.
        end_ids: tokens that end a text.

    Raises:
        ConfigError: no text matches the pattern, or no token ends a text.
    """

    def __init__(self, pattern: Pattern, trie: TokenTrie, end_ids: Iterable[int]) -> None:
        self._trie = trie
        self._ends = sorted({end for end in end_ids if 0 <= end < len(trie)})
        if not self._ends:
            raise ConfigError("no end token: a constrained text could not end; give the tokenizer's stop_ids")
        self._bytes = ByteAutomaton(pattern, trie.alphabet(left_out=self._ends))
        self._next: OrderedDict[int, _Next] = OrderedDict()
        self._tokens_to_end: dict[int, int] = {}
        self.start = self._bytes.start

    def __len__(self) -> int:
        """States made so far; each takes some KiB."""
        return len(self._bytes)

    def accepting(self, state: int) -> bool:
        """Whether the text is complete, so that an end token may follow."""
        return self._bytes.accepting(state)

    def shortest(self, state: int) -> int:
        """Bytes of the shortest text that completes the pattern; 0 in an accepting state."""
        return int(self._bytes.distance[state])

    def advance(self, state: int, token: int) -> int:
        """The state after a token; an end token changes nothing. Raises ValueError where it is not allowed."""
        if token in self._ends and self.accepting(state):
            return state
        after = DEAD
        if 0 <= token < len(self._trie) and token not in self._ends:
            after = state if self._trie.token_bytes[token] else DEAD
            for byte in self._trie.token_bytes[token]:
                after = self._bytes.step(after, byte)
        if after == DEAD:
            raise ValueError(f"token {token} is not allowed in state {state}")
        return after

    def allowed(self, state: int, budget: int | None = None) -> Tensor:
        """The tokens that may follow: bool `[tokens]`, shared between calls and so not to be changed.

        With `budget`, the number of tokens that may still be written (an end token included), only tokens
        are kept after which the text can be completed in time. Where none can, those that come nearest.
        """
        following = self._following(state)
        # A byte is a token at most, and one token ends the text.
        if budget is None or following.furthest + 2 <= budget:
            return following.mask
        tokens = np.flatnonzero(following.after != DEAD)
        states, place = np.unique(following.after[tokens], return_inverse=True)
        costs = np.array([1 + self._cost(after, budget - 2) for after in states.tolist()])[place]
        ends = np.array(self._ends if self.accepting(state) else [], dtype=np.int64)
        tokens, costs = np.concatenate([tokens, ends]), np.concatenate([costs, np.ones(len(ends))])
        mask = torch.zeros(len(self._trie), dtype=torch.bool)
        mask[torch.from_numpy(tokens[costs <= max(budget, costs.min())])] = True
        return mask

    def _cost(self, state: int, enough: int) -> int:
        """Tokens that complete the text from here, the end token included; not more exact than `enough`.

        At each step the token that leads nearest to the end in bytes is taken: not always the fewest tokens,
        but a way that exists.
        """
        if self.shortest(state) <= enough:
            return self.shortest(state) + 1
        path = []
        while state not in self._tokens_to_end:
            if self.accepting(state):
                self._tokens_to_end[state] = 1
                break
            path.append(state)
            after = self._following(state).after
            reachable = after[after != DEAD]
            state = int(reachable[self._bytes.distance[reachable].argmin()])
        cost = self._tokens_to_end[state]
        for state in reversed(path):
            cost += 1
            self._tokens_to_end[state] = cost
        return cost

    def _following(self, state: int) -> _Next:
        known = self._next.get(state)
        if known is not None:
            self._next.move_to_end(state)
            return known
        after = self._trie.walk(self._bytes, state)
        after[self._ends] = DEAD
        mask = after != DEAD
        if self.accepting(state):
            mask[self._ends] = True
        furthest = int(self._bytes.distance[after[after != DEAD]].max(initial=0))
        made = self._next[state] = _Next(after, torch.from_numpy(mask), furthest)
        while len(self._next) * 5 * len(self._trie) > KEPT_BYTES and len(self._next) > 1:
            self._next.popitem(last=False)
        return made
