"""What one optimizer step trains on, and the protocol of whoever supplies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from exnihilo.core.errors import ConfigError

PADDING_SEGMENT = -1
FIELDS = ("tokens", "positions", "segments", "targets", "weights")
SOURCE = "source"
"""Extra field: int64, by position an index into the `sources` of the source of batches; 0 on padding."""
PREFIX = "prefix"
"""Extra field: int64 `[rows, length]`, 1 + the segment of the same row that a position's segment continues, 0 where it
continues none. What continues it sees all of it, as several answers do their prompt."""


@dataclass(eq=False)
class Batch:
    """Packed rows. Every tensor has shape [rows, length]; one in `extra` may have another, as long as rows come first.

    `targets[i, t]` is the token that follows `tokens[i, t]` in its segment, and `weights[i, t]` what its loss
    counts for; where nothing follows, the target is 0 and so is the weight. Targets are shifted here and
    nowhere else: a loss compares `logits[i, t]` with `targets[i, t]`.

    Attributes:
        tokens: int64 input ids.
        positions: int64; restart at 0 with each segment.
        segments: int64; equal within a segment, increasing along a row; -1 is padding.
        targets: int64.
        weights: float32; 0 on padding.
        extra: fields of an objective, by token (advantages, reference log-probabilities …) or by row (pairs).
    """

    tokens: Tensor
    positions: Tensor
    segments: Tensor
    targets: Tensor
    weights: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if taken := self.extra.keys() & set(FIELDS):
            raise ValueError(f"extra: {sorted(taken)} are fields of every batch; use another name")
        if self.tokens.ndim != 2:
            raise ValueError(f"tokens: shape {tuple(self.tokens.shape)}, expected [rows, length]")
        for name, tensor in self.fields().items():
            if tensor.shape[:1] != self.tokens.shape[:1] or (
                name in FIELDS and tensor.shape != self.tokens.shape
            ):
                raise ValueError(
                    f"{name}: shape {tuple(tensor.shape)} is not that of tokens, {tuple(self.tokens.shape)}"
                )

    def __len__(self) -> int:
        """The number of rows."""
        return self.tokens.shape[0]

    @property
    def length(self) -> int:
        """Input positions of a row."""
        return self.tokens.shape[1]

    def fields(self) -> dict[str, Tensor]:
        """Every tensor by name, extra fields last."""
        return {name: getattr(self, name) for name in FIELDS} | self.extra

    @staticmethod
    def of(fields: Mapping[str, Tensor]) -> Batch:
        """The batch whose `fields` these are."""
        extra = {name: tensor for name, tensor in fields.items() if name not in FIELDS}
        return Batch(**{name: fields[name] for name in FIELDS}, extra=extra)

    def pick(self, rows: Tensor) -> Batch:
        """The rows with these numbers (int64), in their order."""
        return self._map(lambda tensor: tensor[rows])

    def rows(self, start: int, stop: int) -> Batch:
        """Rows `start` to `stop` (exclusive) as views."""
        return self._map(lambda tensor: tensor[start:stop])

    def split(self, n: int) -> list[Batch]:
        """`n` micro-batches of consecutive rows whose sizes differ by at most one.

        Raises:
            ConfigError: a micro-batch would be empty.
        """
        if not 1 <= n <= len(self):
            raise ConfigError(
                f"a batch of {len(self)} rows can't be split in {n}: use 1 to {len(self)} micro-batches"
            )
        borders = [len(self) * i // n for i in range(n + 1)]
        return [self.rows(a, b) for a, b in pairwise(borders)]

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`.

        On the way to a GPU each call pins fresh host memory, which the allocator keeps until the copy is
        over, so that no later batch can overwrite one under way.
        """
        if torch.device(device).type == "cuda" and self.tokens.device.type == "cpu":
            return self._map(lambda tensor: tensor.pin_memory().to(device, non_blocking=True))
        return self._map(lambda tensor: tensor.to(device))

    @staticmethod
    def cat(batches: Sequence[Batch]) -> Batch:
        """The rows of `batches` one below the other.

        Raises:
            ValueError: none given, or their lengths or extra fields differ.
        """
        if not batches:
            raise ValueError("no batches to concatenate")
        first = batches[0]
        for other in batches[1:]:
            if other.length != first.length:
                raise ValueError(f"batches of {first.length} and {other.length} positions can't be joined")
            if other.extra.keys() != first.extra.keys():
                raise ValueError(f"extra fields differ: {sorted(first.extra)} and {sorted(other.extra)}")
        columns = [batch.fields() for batch in batches]
        return Batch.of({name: torch.cat([column[name] for column in columns]) for name in columns[0]})

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return Batch.of({name: function(tensor) for name, tensor in self.fields().items()})


class Source(Protocol):
    """Supplies the batch of every step.

    `next` depends on the step and on the scalars of `state` alone, never on earlier calls, the number of
    processes or of micro-batches: a resumed run asks for the step it stopped at, and each process takes its
    rows of the whole.
    """

    def next(self, step: int, model: Any) -> Batch:
        """The whole batch of `step` (from 0). `model` is the one under training; text sources ignore it."""
        ...

    def state(self) -> dict[str, int | float | str]:
        """What fixes the order of data, as scalars; a run whose state differs trains on other batches."""
        ...

    def resume(self, state: Mapping[str, int | float | str]) -> None:
        """Go on as the source whose state was saved. Raises Refused where it had other data or another order."""
        ...
