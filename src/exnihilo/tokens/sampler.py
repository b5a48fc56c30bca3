"""Rows of running text for pretraining: no position is wasted, no token dropped, any row had at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from blake3 import blake3

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.seeds import derive
from exnihilo.tokens.batch import SOURCE, Batch
from exnihilo.tokens.mixture import Interleave
from exnihilo.tokens.order import Permutation
from exnihilo.tokens.shards import TokenSet
from exnihilo.tokens.sources import by_amount
from exnihilo.tokens.state import Scalars, check_state

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Phase:
    """Up to the step `until` a row is made of pieces of `piece` positions."""

    until: int
    piece: int

    def __str__(self) -> str:
        return f"{self.until}:{self.piece}"

    @staticmethod
    def of(text: str) -> Phase:
        """The inverse of `str`."""
        until, piece = text.split(":")
        return Phase(int(until), int(piece))


class DocumentRows:
    """A `Source` of packed documents from one token set or a weighted mixture.

    In each epoch a set's documents stand one after another in a seeded order, and the rows are cut from that
    stream; an epoch may end within a row. An epoch's rows are then visited in a seeded order of
    their own: neighbours come from one document, and a batch of them would be far from a sample of the text.
    A document at a border goes on in the next row as a new segment,
    whose positions restart at 0. A document of n tokens takes n - 1 positions: its last token is a target
    only, since nothing follows it. So each token but a document's first is a target exactly once an epoch,
    and every weight is 1.

    In a phase (`phases`) a row is made of shorter pieces from as many places of the text, each a segment of its own.
    What a phase reads of an epoch, no other phase reads.

    The order depends on the seed, the phases and the step alone.

    Attributes:
        sources: the names of where the text comes from. Where there are several, a batch says in
            `extra["source"]` which each position's target is from.

    Args:
        tokensets: sets of one tokenizer.
        weights: the share of rows from each set; None is by size, so that all sets have the same epochs.
        rows: rows of a batch, over all processes and micro-batches.
        length: input positions of a row.
        seed: of the order.
        phases: in their order, before rows are whole.

    Raises:
        ConfigError: impossible rows, length, weights or phases.
        Refused: the sets come from different tokenizers, or one has no document of two tokens.
    """

    def __init__(
        self,
        tokensets: Sequence[TokenSet],
        weights: Sequence[float] | None,
        rows: int,
        length: int,
        seed: int,
        phases: Sequence[Phase] = (),
    ) -> None:
        if rows < 1 or length < 1:
            raise ConfigError(f"rows {rows}, length {length}: both are at least 1")
        if not tokensets:
            raise ConfigError("tokens: no token set given; name at least one")
        if weights is not None and len(weights) != len(tokensets):
            raise ConfigError(
                f"weights: {len(weights)} given for {len(tokensets)} token sets; give one for each"
            )
        for phase in phases:
            if phase.piece < 1 or length % phase.piece:
                raise ConfigError(f"pieces of {phase.piece} positions don't fill rows of {length}")
        for other in tokensets[1:]:
            _check_same_tokenizer(tokensets[0], other)
        self.phases = list(phases)
        self.rows = rows
        self.length = length
        self.seed = seed
        self._names = _distinct([tokens.path.name for tokens in tokensets])
        self.sources, of_documents = _sources(tokensets, self._names)
        self._streams = [
            _Stream(tokens, sources, derive(seed, "documents", i))
            for i, (tokens, sources) in enumerate(zip(tokensets, of_documents, strict=True))
        ]
        self._turns = Interleave([s.positions for s in self._streams] if weights is None else weights)

    def next(self, step: int, model: object = None) -> Batch:
        """The batch of `step`, [rows, length]."""
        turns = step * self.rows + np.arange(self.rows)
        source, rank = self._turns.locate(turns)
        begin, end, piece = self._phase(step)
        pieces = self.length // piece
        tokens = np.empty((self.rows, self.length), dtype=np.int64)
        targets = np.empty_like(tokens)
        offsets = np.empty_like(tokens)
        sources = np.empty_like(tokens)
        for i in np.unique(source):
            here = source == i
            low = int(self._turns.counts(begin * self.rows)[i])
            high = None if end is None else int(self._turns.counts(end * self.rows)[i])
            rows = self._streams[i].rows(rank[here], self.length, pieces, low, high)
            for field, values in zip((tokens, targets, offsets, sources), rows, strict=True):
                field[here] = values.reshape(-1, self.length)
        segments, positions = _segments(offsets, piece)
        return Batch(
            tokens=torch.from_numpy(tokens),
            positions=torch.from_numpy(positions),
            segments=torch.from_numpy(segments),
            targets=torch.from_numpy(targets),
            weights=torch.ones((self.rows, self.length)),
            extra={SOURCE: torch.from_numpy(sources)} if len(self.sources) > 1 else {},
        )

    def _phase(self, step: int) -> tuple[int, int | None, int]:
        """(first step, step after the last, positions of a piece) of the phase that `step` is in."""
        begin = 0
        for phase in self.phases:
            if step < phase.until:
                return begin, phase.until, phase.piece
            begin = max(begin, phase.until)
        return begin, None, self.length

    def state(self) -> dict[str, int | float | str]:
        """The scalars that fix the order; with the step they give any batch."""
        fingerprints = "".join(stream.tokens.fingerprint for stream in self._streams)
        return {
            "source": "documents",
            "fingerprint": blake3(fingerprints.encode()).hexdigest(),
            "weights": ",".join(repr(weight) for weight in self._turns.weights),
            "seed": self.seed,
            "rows": self.rows,
            "length": self.length,
            **({"phases": " ".join(map(str, self.phases))} if self.phases else {}),
        }

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other data, weights, seed or shape. Its phases are taken over: a run that goes on
        for longer than first planned keeps those that it began with.

        Raises:
            Refused: as `check_state`.
        """
        self.phases = [Phase.of(text) for text in str(state.get("phases", "")).split()]
        check_state(state, self.state())

    def epochs(self, total_steps: int, max_epochs: float | None = None) -> dict[str, float]:
        """How often `total_steps` steps read each set, by the set's folder name.

        Raises:
            ConfigError: a set would be read more than `max_epochs` times.
        """
        counts = self._turns.counts(total_steps * self.rows)
        epochs = {
            name: int(count) * self.length / stream.positions
            for name, count, stream in zip(self._names, counts, self._streams, strict=True)
        }
        for name, value in epochs.items():
            if max_epochs is not None and value > max_epochs:
                raise ConfigError(
                    f"{total_steps} steps read {name} {value:.2f} times, above max_epochs = {max_epochs:g}: "
                    "train for fewer steps, give it less weight, or add text"
                )
        return epochs


@dataclass
class _Epoch:
    order: Int64Array  # [documents]
    ends: Int64Array  # [documents]: positions up to and with each document of the order


class _Stream:
    """The endless stream of one set's positions; position p and its target are neighbours in one document."""

    def __init__(self, tokens: TokenSet, sources: Int64Array, seed: int) -> None:
        self.tokens = tokens
        self.sources = sources  # [documents]
        self.seed = seed
        self._sizes = tokens.lengths - 1
        self.positions = int(self._sizes.sum())
        if self.positions == 0:
            raise Refused(
                f"{tokens.path}, split {tokens.split}: no document of two tokens or more; nothing to predict"
            )
        self._epochs: dict[int, _Epoch] = {}

    def rows(
        self, ranks: Int64Array, length: int, pieces: int, low: int, high: int | None
    ) -> list[Int64Array]:
        """Tokens, targets, places in their document and sources, [ranks · pieces, length / pieces] each, of the rows
        visited at `ranks`, all of which are in the phase from rank `low` on and before `high`."""
        if pieces == 1:
            starts = [self._row_at(rank, length) * length for rank in ranks.tolist()]
        else:
            numbers = (ranks[:, None] * pieces + np.arange(pieces)).flatten().tolist()
            starts = [self._piece_at(number, length, pieces, low, high) for number in numbers]
        size = length // pieces
        return [np.stack(field) for field in zip(*(self.read(s, s + size) for s in starts), strict=True)]

    def _row_at(self, rank: int, length: int) -> int:
        """Number, in the stream, of the row visited at `rank`: an epoch's whole rows are shuffled, and the row that
        reaches over its end stays the last."""
        first, end = self._whole_rows(rank, length)
        if rank >= end:
            return rank
        return first + _shuffled(
            rank - first, end - first, derive(self.seed, "rows", rank * length // self.positions)
        )

    def _piece_at(self, number: int, length: int, pieces: int, low: int, high: int | None) -> int:
        """Where the piece visited as `number` begins in the stream: the pieces of all rows that a phase visits in an
        epoch are shuffled. Rows are shuffled before, over all of the epoch, so that each phase reads a sample of it
        and not one stretch, which in a small corpus may be a few large documents."""
        first, end = self._whole_rows(number // pieces, length)
        if number // pieces < end:
            seed = derive(self.seed, "pieces", number // pieces * length // self.positions)
            first, end = pieces * max(first, low), pieces * (end if high is None else min(end, high))
            number = first + _shuffled(number - first, end - first, seed)
        row, piece = divmod(number, pieces)
        return self._row_at(row, length) * length + piece * (length // pieces)

    def _whole_rows(self, rank: int, length: int) -> tuple[int, int]:
        """The epoch's rows that `rank` is among: the first, and the one after its last whole one."""
        epoch = rank * length // self.positions
        return -(-epoch * self.positions // length), (epoch + 1) * self.positions // length

    def read(self, start: int, stop: int) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
        """Tokens, targets, places in their document and sources of the stream's positions from `start` to
        `stop`."""
        addresses, offsets, sources = [], [], []
        for epoch in range(start // self.positions, (stop - 1) // self.positions + 1):
            before = epoch * self.positions
            a, b = max(start - before, 0), min(stop - before, self.positions)
            plan = self._epoch(epoch)
            first, last = np.searchsorted(plan.ends, [a, b - 1], side="right")
            documents, ends = plan.order[first : last + 1], plan.ends[first : last + 1]
            begins = ends - self._sizes[documents]
            counts = np.minimum(ends, b) - np.maximum(begins, a)
            offset = np.arange(a, b) - np.repeat(begins, counts)
            addresses.append(np.repeat(self.tokens.starts[documents], counts) + offset)
            offsets.append(offset)
            sources.append(np.repeat(self.sources[documents], counts))
        address = np.concatenate(addresses)
        return (
            self.tokens.take(address),
            self.tokens.take(address + 1),
            np.concatenate(offsets),
            np.concatenate(sources),
        )

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._epochs:
            if (
                len(self._epochs) == 2
            ):  # a batch rarely spans more epochs than the one ending and the one beginning
                del self._epochs[min(self._epochs)]
            order = Permutation(self.tokens.documents, derive(self.seed, epoch)).all()
            self._epochs[epoch] = _Epoch(order, np.cumsum(self._sizes[order]))
        return self._epochs[epoch]


def _shuffled(place: int, count: int, seed: int) -> int:
    return int(Permutation(count, seed)(np.array([place]))[0])


def _sources(sets: Sequence[TokenSet], names: Sequence[str]) -> tuple[list[str], list[Int64Array]]:
    """Names of sources, and by set the index of each document's: a set's own name where it has one source,
    else that of the source, after the set's where there are several sets."""
    labels: list[str] = []
    amounts: list[float] = []
    places: list[Int64Array] = []
    for tokens, name in zip(sets, names, strict=True):
        found, place = np.unique(tokens.source_ids, return_inverse=True)
        own = [tokens.source_names[i] for i in found.tolist()]
        if len(sets) > 1:
            own = [name] if len(own) == 1 else [f"{name}/{source}" for source in own]
        places.append(place.astype(np.int64) + len(labels))
        labels += own
        amounts += np.bincount(place, weights=tokens.lengths, minlength=len(own)).tolist()
    kept, index = by_amount(labels, amounts)
    return kept, [index[place] for place in places]


def _segments(offsets: Int64Array, piece: int) -> tuple[Int64Array, Int64Array]:
    """Segments and positions of rows made of pieces, from each position's place in its document."""
    starts = offsets == 0
    starts[:, ::piece] = True
    columns = np.arange(offsets.shape[1])
    positions = columns - np.maximum.accumulate(np.where(starts, columns, 0), axis=1)
    return np.cumsum(starts, axis=1) - 1, positions


def _check_same_tokenizer(first: TokenSet, other: TokenSet) -> None:
    if (first.vocab_size, first.tokenizer_fingerprint) != (other.vocab_size, other.tokenizer_fingerprint):
        raise Refused(
            f"{first.path} and {other.path} come from different tokenizers; tokenize both with the same one"
        )


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number where one occurs more than once."""
    total = Counter(names)
    seen: Counter[str] = Counter()
    result: list[str] = []
    for name in names:
        seen[name] += 1
        result.append(name if total[name] == 1 else f"{name}#{seen[name]}")
    return result
