"""Log-probabilities of answers under the reference, computed once: kept on disk, filled as far as they are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from exnihilo.core.errors import ExnihiloError
from exnihilo.core.files import write_json
from exnihilo.core.workspace import Workspace
from exnihilo.model.decoder import Decoder
from exnihilo.model.precision import multiplying_in
from exnihilo.objectives.direct import REFERENCE_ANSWERS, answer_logprobs
from exnihilo.objectives.segments import by_answer, segment_ends
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import ANSWER, Comparison, ComparisonRows
from exnihilo.tokens.state import Scalars

TOLERANCE = 0.01
"""Nats a token by which a kept log-probability may differ from one computed again; in bfloat16, packed otherwise,
answers of some tokens differ by about a thousandth."""


def reference_logprobs(
    model: Decoder,
    comparisons: Sequence[Comparison],
    *,
    model_hash: str,
    rows: int,
    length: int,
    pad: int,
    dtype: torch.dtype,
    folder: Path,
    work: Workspace,
) -> Tensor:
    """log π_ref(answer | prompt) of every answer, in nats, summed over its tokens: float64 `[answers]`.

    Kept in `folder` with all that they depend on: the hash of the model's weights, every answer's ids, the rows and the
    precision. What is not known yet is -inf there, so that a killed run computes what is missing and nothing half done
    is ever taken for a result; one row is computed again to see that what was kept belongs to this model. Raises
    ExnihiloError where it does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values, name = folder / "reference.npy", folder / "reference.json"
    packed = ComparisonRows(comparisons, rows, length, 0, pad=pad)
    own = {**packed.state(), "model": model_hash, "pad": pad, "dtype": str(dtype)}
    count = sum(len(one.answers) for one in comparisons)
    known = name.is_file() and values.is_file() and json.loads(name.read_text(encoding="utf-8")) == own
    kept = np.load(values) if known else np.full(count, -np.inf)
    parts = -(-packed.rows_per_epoch // rows)
    with work.progress(parts, "log-probabilities of the reference", "batches") as bar:
        for number, batch in enumerate(packed.once()):
            answers = torch.unique(batch.extra[ANSWER][batch.segments >= 0]).numpy()
            missing = not np.isfinite(kept[answers]).all()
            if missing or number == 0:
                found = logprobs_by_answer(model, batch, dtype)
                if missing:
                    kept[list(found)] = list(found.values())
                    _save(values, kept)
                    write_json(name, own)
                else:
                    _compare(kept, found, comparisons)
            bar.advance()
    if not np.isfinite(kept).all():
        raise ExnihiloError("the reference gives an answer a probability of 0; its weights may be broken")
    return torch.from_numpy(kept)


@torch.no_grad()
def logprobs_by_answer(model: Decoder, batch: Batch, dtype: torch.dtype) -> dict[int, float]:
    """{number of the answer: its log-probability in nats}, multiplying in `dtype`, without dropout."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    with multiplying_in(dtype, device):
        sums, _ = answer_logprobs(model, batch.to(device))
    model.train(training)
    return by_answer(sums, batch)


def _save(path: Path, values: np.ndarray) -> None:
    fresh = path.with_suffix(".fresh.npy")
    np.save(fresh, values)
    fresh.replace(path)


def _compare(kept: np.ndarray, found: dict[int, float], comparisons: Sequence[Comparison]) -> None:
    sizes = [sum(mask) for one in comparisons for _, mask in one.answers]
    worst = max(abs(kept[answer] - value) / sizes[answer] for answer, value in found.items())
    if worst > TOLERANCE:
        raise ExnihiloError(
            f"the log-probabilities that were kept are {worst:.3f} nats a token off from the model's; remove the "
            "stage's partial folder and run it again"
        )


class WithReference:
    """A `Source` of comparisons whose batches carry the reference's log-probabilities, `[rows, segments]`."""

    def __init__(self, source: ComparisonRows, reference: Tensor) -> None:
        self.source, self.reference = source, reference.float()

    def next(self, step: int, model: object = None) -> Batch:
        """The batch of `step`."""
        return self.added(self.source.next(step, model))

    def added(self, batch: Batch) -> Batch:
        """A batch with the field."""
        answers = batch.extra[ANSWER].gather(1, segment_ends(batch.segments)).clamp(min=0)
        batch.extra[REFERENCE_ANSWERS] = self.reference[answers]
        return batch

    def state(self) -> dict[str, int | float | str]:
        """As the source's."""
        return self.source.state()

    def resume(self, state: Scalars) -> None:
        """As the source's."""
        self.source.resume(state)
