"""KTO's point of reference: how far the policy is from the reference on answers to other prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from exnihilo.align.reference import WithReference, logprobs_by_answer
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.labelled import DIVERGENCE, KINDS
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import DESIRABLE, UNDESIRABLE, Comparison
from exnihilo.tokens.order import Permutation
from exnihilo.tokens.state import Scalars


def mismatched(comparisons: Sequence[Comparison], length: int, seed: int) -> list[Comparison]:
    """Each prompt with an answer to another one, drawn by the seed; those longer than `length` are left out.

    Drawn from all the data, and not from a batch, whose prompts may be equal. None where all prompts are.
    """
    if not comparisons:
        return []
    groups: dict[tuple[int, ...], list[int]] = {}
    for i in Permutation(len(comparisons), seed).all().tolist():
        ids, mask = comparisons[i].answers[0]
        groups.setdefault(tuple(ids[: mask.index(True)]), []).append(i)
    order = [(prompt, i) for prompt, members in groups.items() for i in members]
    # As far on as the largest group is large, the prompt is another one, unless that group is more than half of all.
    far = max(len(members) for members in groups.values())
    found = []
    for place, (prompt, _) in enumerate(order):
        other, i = order[(place + far) % len(order)]
        ids, mask = comparisons[i].answers[place % len(comparisons[i].answers)]
        start = mask.index(True)
        if other != prompt and len(prompt) + len(ids) - start <= length:
            answer = [*prompt, *ids[start:]], [False] * len(prompt) + mask[start:]
            found.append(Comparison((answer,), ()))
    return found


class WithDivergence:
    """A `Source` of labelled answers with what KTO's loss wants of a whole batch: the mean of log π/π_ref over as many
    rows of answers to other prompts, by the policy as it is before the step."""

    def __init__(self, source: WithReference, others: WithReference, dtype: torch.dtype) -> None:
        self.source, self.others, self.dtype = source, others, dtype

    def next(self, step: int, model: Decoder) -> Batch:
        """The batch of `step`."""
        batch = self.source.next(step, model)
        self.add([batch], [self.others.source.next(step)], model)
        return batch

    def add(self, batches: Sequence[Batch], others: Iterable[Batch], model: Decoder) -> None:
        """Give `batches`, which count as one, their fields."""
        ratios = [
            value - float(self.others.reference[answer])
            for batch in others
            for answer, value in logprobs_by_answer(model, batch, self.dtype).items()
        ]
        mean = sum(ratios) / len(ratios)
        counts = [[batch.extra[kind].sum() for kind in (DESIRABLE, UNDESIRABLE)] for batch in batches]
        kinds = torch.tensor(counts).sum(0)
        for batch in batches:
            batch.extra[DIVERGENCE] = torch.full((len(batch),), mean)
            batch.extra[KINDS] = kinds.repeat(len(batch), 1)

    def state(self) -> dict[str, int | float | str]:
        """As the source's."""
        return self.source.state()

    def resume(self, state: Scalars) -> None:
        """As the source's."""
        self.source.resume(state)
