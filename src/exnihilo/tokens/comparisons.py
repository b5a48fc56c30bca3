"""Rows of whole comparisons: a prompt with all of its answers, and which of them is better than which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from blake3 import blake3

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.examples.preferences import Pair
from exnihilo.tokens.arrangement import Arrangement
from exnihilo.tokens.batch import PADDING_SEGMENT, SOURCE, Batch
from exnihilo.tokens.sources import by_amount
from exnihilo.tokens.state import Scalars, check_state

BETTER, WORSE = "better", "worse"
MARGIN, CERTAINTY, ASPECT, PAIR_WEIGHT = "margin", "certainty", "aspect", "pair_weight"
"""Extra fields `[rows, pairs]`: the segments of a pair in their row (int64), by how much the better one's score
should be higher, the share of judges who prefer it, in which respect (int64), and what the pair counts for (0 where
there is none)."""
DESIRABLE, UNDESIRABLE = "desirable", "undesirable"
"""Extra fields `[rows, segments]`: what each answer counts for as one that is to be given and as one that is not, by
its label, or by each pair that it is in."""
ANSWER = "answer"
"""Extra field `[rows, length]`: the number of the answer that a position is of, over all comparisons; -1 on padding."""

UNNAMED = "comparisons"
"""The source of comparisons that say none."""


@dataclass(frozen=True)
class Comparison:
    """Answers to one prompt as they are read by a model.

    Attributes:
        answers: for each its ids, those of the prompt first, and as long a mask of what the answer is.
        pairs: each counts 1 / len(pairs), so that a prompt counts once (arXiv 2203.02155); none of a single answer.
        source: where it comes from; "" says nothing.
        label: whether a single answer is desirable; None says nothing.
    """

    answers: tuple[tuple[list[int], list[bool]], ...]
    pairs: tuple[Pair, ...]
    source: str = ""
    label: bool | None = None

    @property
    def size(self) -> int:
        """Positions that its answers take."""
        return sum(len(ids) for ids, _ in self.answers)


class ComparisonRows:
    """A `Source` of packed comparisons: all answers to a prompt in one row, each a segment of its own, none cut.

    So no pair is ever parted by micro-batches or processes, which split batches by rows. Unlike a row of
    conversations, a row holds an answer's last token too, where a reward model reads its score; its target is 0, and
    counts nothing. The weight of a position is 1 where its target belongs to the answer.

    Args:
        comparisons: each at most `length` positions large.
        rows: packed rows of a batch, over all processes and micro-batches.
        length: input positions of a row.
        seed: of the order.
        pad: the id that fills the rest of a row.

    Attributes:
        sources: names of where comparisons come from; where there are several, a batch says in `extra["source"]` which
            each position is of.
        rows_per_epoch: packed rows that hold every comparison once.
        fill: the share of their positions that comparisons take.

    Raises:
        ConfigError: impossible rows or length.
        Refused: no comparisons, or one that is empty, too large or compares what it has not.
    """

    def __init__(
        self, comparisons: Sequence[Comparison], rows: int, length: int, seed: int, *, pad: int
    ) -> None:
        if rows < 1 or length < 1:
            raise ConfigError(f"rows {rows}, length {length}: both are at least 1")
        _check(comparisons, length)
        self.comparisons, self.rows, self.length, self.seed, self.pad = comparisons, rows, length, seed, pad
        sizes = np.array([one.size for one in comparisons], dtype=np.int64)
        self.sources, self._sources = by_amount(
            [one.source or UNNAMED for one in comparisons], sizes.tolist()
        )
        self._arrangement = Arrangement(sizes, length, seed)
        self.rows_per_epoch, self.fill = self._arrangement.rows_per_epoch, self._arrangement.fill
        counts = np.array([len(one.answers) for one in comparisons], dtype=np.int64)
        self._first_answer = np.cumsum(counts) - counts
        self._fingerprint = blake3(
            repr([(one.answers, one.pairs, one.label) for one in comparisons]).encode()
        ).hexdigest()

    def next(self, step: int, model: object = None) -> Batch:
        """The batch of `step`: `[rows, length]`."""
        return self.pack(range(step * self.rows, (step + 1) * self.rows))

    def pack(self, numbers: Sequence[int]) -> Batch:
        """Rows by number, counted over all epochs."""
        planned = [self._arrangement.row(number) for number in numbers]
        shape = (len(planned), self.length)
        tokens = torch.full(shape, self.pad)
        segments, answers = torch.full(shape, PADDING_SEGMENT), torch.full(shape, -1)
        positions, targets, sources = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
        weights = torch.zeros(shape)
        most = max(sum(len(self.comparisons[i].pairs) for i in items) for items, _ in planned)
        better, worse, aspect = (torch.zeros(len(planned), most, dtype=torch.long) for _ in range(3))
        margin, certainty, counts = (torch.zeros(len(planned), most) for _ in range(3))
        most = max(sum(len(self.comparisons[i].answers) for i in items) for items, _ in planned)
        desirable, undesirable = (torch.zeros(len(planned), most) for _ in range(2))
        for row, (items, offsets) in enumerate(planned):
            segment, pair = 0, 0
            # From left to right, as segments are numbered.
            for item, offset in sorted(
                zip(items.tolist(), offsets.tolist(), strict=True), key=lambda one: one[1]
            ):
                comparison, start = self.comparisons[item], offset
                for one in comparison.pairs:
                    better[row, pair], worse[row, pair] = segment + one.better, segment + one.worse
                    margin[row, pair], certainty[row, pair] = one.margin, one.certainty
                    aspect[row, pair] = one.aspect
                    counts[row, pair] = 1 / len(comparison.pairs)
                    pair += 1
                if comparison.label is not None:
                    (desirable if comparison.label else undesirable)[row, segment] = 1
                for number, (ids, mask) in enumerate(comparison.answers):
                    here = slice(start, start + len(ids))
                    tokens[row, here] = torch.tensor(ids)
                    positions[row, here] = torch.arange(len(ids))
                    segments[row, here] = segment
                    answers[row, here] = int(self._first_answer[item]) + number
                    sources[row, here] = int(self._sources[item])
                    before = slice(start, start + len(ids) - 1)
                    targets[row, before] = torch.tensor(ids[1:])
                    weights[row, before] = torch.tensor(mask[1:], dtype=torch.float32)
                    start += len(ids)
                    segment += 1
        # A pair of certainty c is one desirable answer and one that is not, and the other way round for 1 - c.
        for kind, share in ((desirable, certainty), (undesirable, 1 - certainty)):
            kind.scatter_add_(1, better, counts * share).scatter_add_(1, worse, counts * (1 - share))
        extra = {
            BETTER: better,
            WORSE: worse,
            MARGIN: margin,
            CERTAINTY: certainty,
            ASPECT: aspect,
            PAIR_WEIGHT: counts,
            DESIRABLE: desirable,
            UNDESIRABLE: undesirable,
            ANSWER: answers,
        }
        if len(self.sources) > 1:
            extra[SOURCE] = sources
        return Batch(tokens, positions, segments, targets, weights, extra)

    def once(self) -> Iterator[Batch]:
        """Every comparison once, in batches of at most `rows`."""
        for first in range(0, self.rows_per_epoch, self.rows):
            yield self.pack(range(first, min(first + self.rows, self.rows_per_epoch)))

    def epochs(self, total_steps: int) -> float:
        """How often `total_steps` steps read the comparisons."""
        return total_steps * self.rows / self.rows_per_epoch

    def state(self) -> dict[str, int | float | str]:
        """The scalars that fix the order."""
        return {
            "source": "comparisons",
            "fingerprint": self._fingerprint,
            "seed": self.seed,
            "rows": self.rows,
            "length": self.length,
        }

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other data, seed or shape. Raises Refused as `check_state`."""
        check_state(state, self.state())


def _check(comparisons: Sequence[Comparison], length: int) -> None:
    if not comparisons:
        raise Refused("no comparisons to pack; give at least one")
    for i, one in enumerate(comparisons):
        if not one.pairs and len(one.answers) > 1:
            raise Refused(f"comparison {i}: no pairs; drop it")
        if any(len(ids) < 2 or len(ids) != len(mask) or not any(mask[1:]) for ids, mask in one.answers):
            raise Refused(f"comparison {i}: an answer of no tokens; drop it")
        if one.size > length:
            raise Refused(
                f"comparison {i}: {one.size} tokens in {len(one.answers)} answers, a row has {length}; drop it, or use "
                "longer rows"
            )
        for pair in one.pairs:
            if pair.better == pair.worse or not all(
                0 <= n < len(one.answers) for n in (pair.better, pair.worse)
            ):
                raise Refused(
                    f"comparison {i}: it compares answers {pair.better} and {pair.worse} of {len(one.answers)}"
                )
            if not (0 <= pair.certainty <= 1):
                raise Refused(f"comparison {i}: a certainty of {pair.certainty}; it is a share, from 0 to 1")
