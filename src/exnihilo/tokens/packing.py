"""Rows of whole conversations for instruction tuning, packed by best fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from blake3 import blake3

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokens.arrangement import Arrangement
from exnihilo.tokens.batch import PADDING_SEGMENT, SOURCE, Batch, Source
from exnihilo.tokens.sources import by_amount
from exnihilo.tokens.state import Scalars, check_state

Int64Array = npt.NDArray[np.int64]

CONVERSATIONS, REPLAY = "conversations", "replay"
"""Names of sources: of conversations that say none, and of the replay."""


class ConversationRows:
    """A `Source` of packed conversations, none of them cut.

    A conversation of n tokens takes n - 1 positions of a row: its last token is a target only. The weight of
    a position is that of its target. Each epoch holds every conversation once, in a seeded arrangement;
    rows run on over the border of epochs, so that no conversation waits for a full batch. All epochs have the
    same number of rows, since it depends on the conversations' lengths alone.

    Args:
        encoded: for each conversation its ids and, as long, what the loss on each counts for (or whether it counts).
        rows: packed rows of a batch, over all processes and micro-batches.
        length: input positions of a row.
        seed: of the order.
        pad: the id that fills the rest of a row.
        replay: a source of the same length whose batch of the step is put below each batch.
        labels: for each conversation the name of where it comes from; "" says nothing.

    Attributes:
        sources: the names of where the text comes from, that of the replay among them. Where there are several,
            a batch says in `extra["source"]` which each position's target is from.
        rows_per_epoch: packed rows that hold every conversation once.
        fill: the share of their positions that conversations take.

    Raises:
        ConfigError: impossible rows or length.
        Refused: no conversations, one longer than a row holds or shorter than two tokens, or
            as many weights as it has not ids.
    """

    def __init__(
        self,
        encoded: Sequence[tuple[Sequence[int], Sequence[float]]],
        rows: int,
        length: int,
        seed: int,
        *,
        pad: int,
        replay: Source | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        if rows < 1 or length < 1:
            raise ConfigError(f"rows {rows}, length {length}: both are at least 1")
        _check_conversations(encoded, length)
        self.rows = rows
        self.length = length
        self.seed = seed
        self.pad = pad
        self.replay = replay
        lengths = np.array([len(ids) for ids, _ in encoded], dtype=np.int64)
        self._ids = np.concatenate([np.asarray(ids, dtype=np.int64) for ids, _ in encoded])
        self._weights = np.concatenate([np.asarray(weights, dtype=np.float32) for _, weights in encoded])
        self._starts = np.cumsum(lengths) - lengths
        self._sizes = lengths - 1
        trained = np.add.reduceat(self._weights.astype(np.float64), self._starts).tolist()
        named = [label or CONVERSATIONS for label in labels or [""] * len(encoded)]
        self.sources, self._sources = by_amount(named, trained)
        if replay is not None:
            self.sources.append(REPLAY)
        self._arrangement = Arrangement(self._sizes, length, seed)
        self.rows_per_epoch, self.fill = self._arrangement.rows_per_epoch, self._arrangement.fill
        digest = blake3(self._ids.astype("<i8").tobytes())
        digest.update(self._weights.astype("<f4").tobytes())
        digest.update(lengths.astype("<i8").tobytes())
        self._fingerprint = digest.hexdigest()

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every conversation has been seen."""
        return -(-self.rows_per_epoch // self.rows)

    def next(self, step: int, model: object = None) -> Batch:
        """The batch of `step`: [rows, length], with replay [rows + the replay's rows, length]."""
        batch = self._pack(range(step * self.rows, (step + 1) * self.rows))
        if self.replay is None:
            return batch
        replayed = self.replay.next(step, model)
        whose = torch.full_like(replayed.tokens, len(self.sources) - 1)
        return Batch.cat([batch, replace(replayed, extra={SOURCE: whose})])

    def state(self) -> dict[str, int | float | str]:
        """The scalars that fix the order, those of the replay as `replay.…`."""
        state: dict[str, int | float | str] = {
            "source": "conversations",
            "fingerprint": self._fingerprint,
            "seed": self.seed,
            "rows": self.rows,
            "length": self.length,
        }
        if self.replay is not None:
            state |= {f"replay.{key}": value for key, value in self.replay.state().items()}
        return state

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other data, seed or shape.

        Raises:
            Refused: as `check_state`.
        """
        check_state(state, self.state())

    def epochs(self, total_steps: int) -> dict[str, float]:
        """How often `total_steps` steps read the conversations."""
        return {"conversations": total_steps * self.rows / self.rows_per_epoch}

    def _pack(self, numbers: range) -> Batch:
        shape = (len(numbers), self.length)
        tokens = np.full(shape, self.pad, dtype=np.int64)
        positions = np.zeros(shape, dtype=np.int64)
        segments = np.full(shape, PADDING_SEGMENT, dtype=np.int64)
        targets = np.zeros(shape, dtype=np.int64)
        weights = np.zeros(shape, dtype=np.float32)
        sources = np.zeros(shape, dtype=np.int64)
        for i, number in enumerate(numbers):
            conversations, offsets = self._arrangement.row(number)
            sizes = self._sizes[conversations]
            within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            here = np.repeat(offsets, sizes) + within
            origin = np.repeat(self._starts[conversations], sizes) + within
            tokens[i, here] = self._ids[origin]
            targets[i, here] = self._ids[origin + 1]
            weights[i, here] = self._weights[origin + 1]
            positions[i, here] = within
            segments[i, here] = np.repeat(np.arange(sizes.size), sizes)
            sources[i, here] = np.repeat(self._sources[conversations], sizes)
        return Batch(
            tokens=torch.from_numpy(tokens),
            positions=torch.from_numpy(positions),
            segments=torch.from_numpy(segments),
            targets=torch.from_numpy(targets),
            weights=torch.from_numpy(weights),
            extra={SOURCE: torch.from_numpy(sources)} if len(self.sources) > 1 else {},
        )


def _check_conversations(encoded: Sequence[tuple[Sequence[int], Sequence[float]]], length: int) -> None:
    if not encoded:
        raise Refused("no conversations to pack; give at least one")
    for i, (ids, weights) in enumerate(encoded):
        if len(ids) != len(weights):
            raise Refused(f"conversation {i}: {len(ids)} ids and {len(weights)} weights; give as many")
        if len(ids) < 2:
            raise Refused(f"conversation {i}: {len(ids)} tokens, nothing to predict; drop it")
        if len(ids) - 1 > length:
            raise Refused(
                f"conversation {i}: {len(ids)} tokens, a row of {length} holds {length + 1} "
                "(the last is a target only); cut or drop it, or use longer rows"
            )
