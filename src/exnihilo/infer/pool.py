"""The keys and values of all requests: rows in groups, what several rows share, and what may be asked for again.

A row's own tokens stand in its slot from column 0 on; what it begins with may stand elsewhere, once for all rows that
begin so. The own tokens of one group are read by one call of attention, up to the longest of them, so rows of very
different lengths stand in different groups. All rows grow by one token a step: differences in length stay as they are,
and no row ever changes its group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
import torch
from torch import Tensor

from exnihilo.model.config import DecoderConfig
from exnihilo.model.memory import zeros

# A call of attention in each layer costs about as much as reading so many bytes of keys and values: 25 µs at 10 GB/s.
CALL_BYTES = 250_000
# Stores up to this size are in large pages, which are read faster. Larger ones, of which much may never be written, are
# not: large pages would be taken as a whole.
LARGE_PAGES_BYTES = 2**29
# Keys and values kept of requests that have ended, so that one that begins alike need not compute them again.
KEPT_BYTES = 2**30


@dataclass(frozen=True)
class Shape:
    """What all stores of a model have in common."""

    depth: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    @staticmethod
    def of(config: DecoderConfig, weight: Tensor) -> Shape:
        return Shape(config.depth, config.kv_heads, config.head_dim, weight.dtype, weight.device)

    @property
    def key_bytes(self) -> int:
        """Bytes of one token's key and value in one layer."""
        return 2 * self.kv_heads * self.head_dim * self.dtype.itemsize

    @property
    def token_bytes(self) -> int:
        """Bytes of one token in all layers."""
        return self.depth * self.key_bytes

    def store(self, rows: int, capacity: int) -> Tensor:
        """Zeros `[depth, 2, rows, kv_heads, capacity, head_dim]`; the system gives memory where they are written."""
        sizes = (self.depth, 2, rows, self.kv_heads, capacity, self.head_dim)
        if rows * capacity * self.token_bytes > LARGE_PAGES_BYTES:
            return torch.zeros(sizes, dtype=self.dtype, device=self.device)
        return zeros(sizes, self.dtype, self.device)


@dataclass(eq=False)
class Prefix:
    """Tokens that several rows begin with, and their keys and values, read once for all of them.

    Attributes:
        tokens: the ids.
        store: `[depth, 2, kv_heads, tokens, head_dim]`.
        hidden: final hidden state `[width]` of the last token.
    """

    tokens: list[int]
    store: Tensor
    hidden: Tensor | None = None


@dataclass(eq=False)
class Place:
    """Where the keys of a row stand: after a prefix, if it shares one, in its group, and there in its slot, which moves
    when another row leaves."""

    group: Group
    slot: int
    prefix: Prefix | None


@dataclass(eq=False)
class Group:
    """Rows whose own tokens one call of attention reads.

    Attributes:
        shares: whether each of them comes after a prefix, which its slot does not repeat; or none does.
        store: `[depth, 2, slots, kv_heads, capacity, head_dim]`.
        lengths: tokens in each row's slot, int64 `[slots]`; those after the last row are meaningless.
        places: of the rows, in the order of their slots.
    """

    shape: Shape
    shares: bool
    store: Tensor
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    places: list[Place] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def held(self) -> np.ndarray:
        """Tokens in the slot of each row `[rows]`; a view."""
        return self.lengths[: len(self.places)]

    @property
    def sharing(self) -> list[tuple[Prefix, list[int]]]:
        """The prefixes, each with the slots of the rows that come after it."""
        slots: dict[int, tuple[Prefix, list[int]]] = {}
        for place in self.places:
            if place.prefix is not None:
                slots.setdefault(id(place.prefix), (place.prefix, []))[1].append(place.slot)
        return list(slots.values())

    def join(self, length: int, capacity: int, prefix: Prefix | None) -> Place:
        """A slot for a row that has `length` tokens of its own now and may come to `capacity`."""
        _, _, slots, _, columns, _ = self.store.shape
        count = len(self.places)
        if count == slots or capacity > columns:
            rows = slots if count < slots else max(count + 1, 2 * count)
            # A quarter more than is needed, or each row that is a little longer would move all the others.
            grown = self.shape.store(
                rows, columns if capacity <= columns else max(capacity, columns * 5 // 4)
            )
            if count:
                longest = int(self.held.max())
                grown[:, :, :count, :, :longest] = self.store[:, :, :count, :, :longest]
            self.store = grown
            self.lengths = np.concatenate([self.held, np.zeros(rows - count, dtype=np.int64)])
        place = Place(self, count, prefix)
        self.places.append(place)
        self.lengths[count] = length
        return place

    def leave(self, place: Place) -> None:
        """Free a row's slot; the last row moves there."""
        last = self.places.pop()
        if last is not place:
            length = int(self.lengths[last.slot])
            self.store[:, :, place.slot, :, :length] = self.store[:, :, last.slot, :, :length]
            self.lengths[place.slot] = length
            last.slot = place.slot
            self.places[place.slot] = last

    def waste_with(self, length: int) -> int:
        """Columns that would be read for nothing in a step if a row of so many tokens were among the others."""
        lengths = [*self.held.tolist(), length]
        return int(max(lengths)) * len(lengths) - int(sum(lengths))


class Pool:
    """All groups, and the tokens kept of what has ended."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.groups: list[Group] = []
        self.kept: list[Prefix] = []  # the one used last stands last
        self._shared: Counter[Prefix] = Counter()  # rows after each

    def reserve(self, rows: Sequence[tuple[int, int, Prefix | None]]) -> list[Place]:
        """Places for rows of (tokens now, tokens at most, prefix), where those of the prefix do not count."""
        places = []
        for length, capacity, prefix in rows:
            shares = prefix is not None
            group = self._group_for(length, shares)
            if group is None:
                # Room for those that come with it, so that the store need not grow for each.
                alike = [
                    most
                    for now, most, other in rows
                    if shares is (other is not None)
                    and abs(now - length) * self.shape.key_bytes <= CALL_BYTES
                ]
                store = self.shape.store(len(alike), max(alike))
                group = Group(self.shape, shares, store, np.zeros(len(alike), dtype=np.int64))
                self.groups.append(group)
            places.append(group.join(length, capacity, prefix))
            if prefix is not None:
                self._shared[prefix] += 1
        return places

    def _group_for(self, length: int, shares: bool) -> Group | None:
        fitting = [
            (waste, i)
            for i, group in enumerate(self.groups)
            if group.shares is shares
            and (waste := group.waste_with(length)) * self.shape.key_bytes <= 2 * CALL_BYTES
        ]
        return self.groups[min(fitting)[1]] if fitting else None

    def release(self, place: Place) -> None:
        """Free a row's place, and its group if nobody is left there; a prefix that nobody shares is kept."""
        place.group.leave(place)
        if not place.group.places:
            self.groups.remove(place.group)
        if place.prefix is not None:
            self._shared[place.prefix] -= 1
            if not self._shared[place.prefix]:
                del self._shared[place.prefix]
                self.keep(place.prefix)

    def clear(self) -> None:
        """Forget all rows; what is kept stays."""
        self.groups.clear()
        self._shared.clear()

    def shared(self, prompt: list[int]) -> Prefix | None:
        """The longest prefix of a row that the prompt begins with."""
        found = {
            len(prefix.tokens): prefix
            for prefix in self._shared
            if prompt[: len(prefix.tokens)] == prefix.tokens
        }
        return found[max(found)] if found else None

    def keep(self, prefix: Prefix) -> None:
        """Keep the tokens of what has ended; the oldest go when `KEPT_BYTES` are full, the newest never does."""
        tokens = prefix.tokens
        self.kept = [other for other in self.kept if other.tokens != tokens[: len(other.tokens)]]
        self.kept.append(prefix)
        while len(self.kept) > 1 and sum(other.store.nbytes for other in self.kept) > KEPT_BYTES:
            del self.kept[0]

    def whole(self, tokens: list[int]) -> Prefix | None:
        """What is kept of exactly these tokens, with the hidden state of the last."""
        return next((p for p in self.kept if p.hidden is not None and p.tokens == tokens), None)

    def recall(self, tokens: Sequence[int]) -> tuple[Prefix | None, int]:
        """What is kept that has most first tokens in common with these, and how many those are."""
        best, most = None, 0
        for prefix in self.kept:
            same = common(prefix.tokens, tokens)
            if same > most:
                best, most = prefix, same
        if best is not None:
            self.kept.remove(best)
            self.kept.append(best)
        return best, most


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are equal."""
    if one[: len(other)] == other[: len(one)]:
        return min(len(one), len(other))
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
