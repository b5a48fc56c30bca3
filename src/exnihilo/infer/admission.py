"""Prompts into the pool: what they share is computed once, and where it pays stays shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.infer.attention import Reading, Span
from exnihilo.infer.pool import CALL_BYTES, Place, Pool, Prefix
from exnihilo.infer.prefixes import Node, prefix_tree, read_together
from exnihilo.model.cache import Cache

Forward = Callable[[Tensor, Cache, Tensor], Tensor]
"""Final hidden states `[B, W, width]` of the tokens `[W]` wanted among ids `[B, T]` that follow what a cache holds."""

# Tokens of one forward pass while prompts are read: bounds its activations.
PREFILL_TOKENS = 4096


@dataclass(frozen=True)
class Admitted:
    """A prompt that has been read.

    Attributes:
        place: where its keys are.
        hidden: final hidden state `[width]` of its last token.
        read: tokens that were computed for it alone.
    """

    place: Place
    hidden: Tensor
    read: int


def admit(forward: Forward, pool: Pool, prompts: Sequence[list[int]], room: Sequence[int]) -> list[Admitted]:
    """Read prompts, none empty, each of which may grow by `room` tokens.

    A prompt that begins with what running rows share joins them. Of the others, those that begin alike are
    read together from then on, where that saves more than a call of attention costs.
    """
    batches: dict[int, tuple[Prefix | None, list[int]]] = {}
    for i, prompt in enumerate(prompts):
        prefix = pool.shared(prompt)
        batches.setdefault(id(prefix), (prefix, []))[1].append(i)
    admitted: dict[int, Admitted] = {}
    for prefix, rows in batches.values():
        batch = _Batch(forward, pool, [prompts[i] for i in rows], [room[i] for i in rows], prefix)
        admitted.update(zip(rows, batch.admit(), strict=True))
    return [admitted[i] for i in range(len(prompts))]


class _Batch:
    """Prompts on their way in, which all begin with `shared` if it is given."""

    def __init__(
        self, forward: Forward, pool: Pool, prompts: list[list[int]], room: list[int], shared: Prefix | None
    ) -> None:
        self.forward, self.pool, self.prompts, self.room, self.shared = forward, pool, prompts, room, shared
        self.base = 0 if shared is None else len(shared.tokens)
        self.nodes = prefix_tree(prompts, self.base)
        self.made: dict[Node, Prefix] = {}  # without the tokens before `base`
        self.home: dict[int, Node] = {}  # the lowest node of a prompt

    def admit(self) -> list[Admitted]:
        self._read_nodes()
        chosen = {row: node for node in self._together() for row in node.rows}
        places = self._places(chosen)
        spans, first, hidden = [], [], {}
        for row, prompt in enumerate(self.prompts):
            place, node = places[row], self.home.get(row)
            before = self._before(row, chosen)
            store = place.group.store[:, :, place.slot]
            if node is not None:
                kept = self.made[node].store[..., before - self.base :, :]
                held = node.stop - before
            elif self.base == 0:
                kept, held = self._recall(prompt)
            else:
                kept, held = store[..., :0, :], 0
            store[..., :held, :] = kept[..., :held, :]
            if before + held == len(prompt):
                hidden[row] = self._last(node)
            else:
                spans.append(Span(prompt[before + held :], store, held, place.prefix))
                first.append(row)
        hidden.update(zip(first, read(self.forward, spans), strict=True))
        read_for = dict(zip(first, (len(span.tokens) for span in spans), strict=True))
        return [Admitted(place, hidden[row], read_for.get(row, 0)) for row, place in enumerate(places)]

    def _together(self) -> list[Node]:
        """The nodes that become prefixes of groups. Rows that share one already keep to it."""
        if self.shared is not None:
            return []
        saved = self.pool.shape.key_bytes
        return read_together(
            self.nodes, lambda node: (len(node.rows) - 1) * node.stop * saved - 2 * CALL_BYTES
        )

    def _before(self, row: int, chosen: dict[int, Node]) -> int:
        """Tokens of a prompt that stand in its group's prefix."""
        return chosen[row].stop if row in chosen else self.base

    def _last(self, node: Node | None) -> Tensor:
        made = self.shared if node is None else self.made[node]
        assert made is not None and made.hidden is not None
        return made.hidden

    def _places(self, chosen: dict[int, Node]) -> list[Place]:
        """A place for each prompt: all at once, since a group is made for those that it will hold."""
        sizes = []
        for row, prompt in enumerate(self.prompts):
            now = len(prompt) - self._before(row, chosen)
            sizes.append(
                (now, now + self.room[row], self.made[chosen[row]] if row in chosen else self.shared)
            )
        return self.pool.reserve(sizes)

    def _recall(self, tokens: list[int]) -> tuple[Tensor, int]:
        """Keys and values of first tokens that are kept from earlier; one token is always left to be read."""
        kept, same = self.pool.recall(tokens)
        held = min(same, len(tokens) - 1)
        return (self.pool.shape.store(1, 0)[:, :, 0], 0) if kept is None else (kept.store, held)

    def _read_nodes(self) -> None:
        """Compute what prompts share, from the top of the tree down."""
        level: list[tuple[Node, Node | None]] = [(node, None) for node in self.nodes]
        while level:
            spans, read_now = [], []
            for node, parent in level:
                self.home.update((row, node) for row in node.rows)
                tokens = self.prompts[node.rows[0]][: node.stop]
                known = None if self.base else self.pool.whole(tokens)
                if known is not None:
                    self.made[node] = known
                    continue
                store = self.pool.shape.store(1, node.stop - self.base)[:, :, 0]
                if parent is not None:
                    kept, held = self.made[parent].store, parent.stop - self.base
                else:
                    kept, held = self._recall(tokens) if self.base == 0 else (store, 0)
                store[..., :held, :] = kept[..., :held, :]
                spans.append(Span(tokens[self.base + held :], store, held, self.shared))
                self.made[node] = Prefix(tokens, store)
                read_now.append(self.made[node])
            for prefix, hidden in zip(read_now, read(self.forward, spans), strict=True):
                prefix.hidden = hidden
                if self.base == 0:
                    self.pool.keep(prefix)
            level = [(child, node) for node, _ in level for child in node.children]


def read(forward: Forward, spans: Iterable[Span]) -> list[Tensor]:
    """Compute the spans' keys and values into their stores; the final hidden state `[width]` of each last token."""
    hidden: list[Tensor] = []
    waiting: list[Span] = []

    def flush() -> None:
        if not waiting:
            return
        tokens = torch.tensor([[t for span in waiting for t in span.tokens]], device=waiting[0].store.device)
        lengths = torch.tensor([len(span.tokens) for span in waiting], device=tokens.device)
        hidden.extend(forward(tokens, Reading(waiting), lengths.cumsum(0) - 1)[0].unbind(0))
        waiting.clear()

    for span in spans:
        room = PREFILL_TOKENS - sum(len(other.tokens) for other in waiting)
        if len(span.tokens) > room:
            flush()
        *parts, last = _parts(span)
        for part in parts:
            waiting.append(part)
            flush()
            hidden.pop()
        waiting.append(last)
    flush()
    return hidden


def _parts(span: Span) -> list[Span]:
    """A span in parts of at most `PREFILL_TOKENS` tokens."""
    return [
        Span(span.tokens[start : start + PREFILL_TOKENS], span.store, span.held + start, span.prefix)
        for start in range(0, len(span.tokens), PREFILL_TOKENS)
    ]
