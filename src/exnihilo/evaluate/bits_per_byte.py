"""Bits per byte of held-out documents under a model (DESIGN, "Numbers").

Bits per byte = total nats / (ln 2 × UTF-8 bytes of the original text). It compares models with different
tokenizers, which loss and perplexity per token do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from exnihilo.core.documents import Document
from exnihilo.core.errors import ExnihiloError
from exnihilo.infer.score import gather_logprobs

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder
    from exnihilo.tokenizer.tokenizer import Tokenizer

# One forward pass holds at most this many input tokens, and the head at most this many positions: with a
# vocabulary of 4,096 that is 8 MiB of logits, which a cache still holds.
FORWARD_TOKENS = 4096
HEAD_POSITIONS = 512
# Documents held at once, so that windows of like length can share a forward pass.
DOCUMENTS_HELD = 128


@dataclass
class DocumentScore:
    """Cost of one document: `nats` over its `tokens` predicted tokens (BOS is given, EOS is predicted)."""

    id: str
    source: str
    bytes: int
    tokens: int
    nats: float

    @property
    def bits(self) -> float:
        return self.nats / math.log(2)


@dataclass(frozen=True)
class Window:
    """Inputs `[start, stop)` of a document; the targets of inputs `[first, stop)` are scored here."""

    start: int
    first: int
    stop: int


def windows(inputs: int, context: int, stride: int) -> list[Window]:
    """Cut `inputs` input positions into windows of at most `context` that score every target exactly once.

    The first window scores all its targets. Each later one scores the next `stride` (fewer at the end) and
    sees `context` inputs, so that each of its targets has more than `context - stride` tokens before it.
    """
    cut = [Window(0, 0, min(context, inputs))] if inputs else []
    while cut and cut[-1].stop < inputs:
        first = cut[-1].stop
        stop = min(first + stride, inputs)
        cut.append(Window(max(0, stop - context), first, stop))
    return cut


@dataclass
class _Job:
    """A window of one document on its way through the model."""

    document: int
    window: Window
    inputs: list[int]
    targets: list[int]


def score_documents(
    model: Decoder, tokenizer: Tokenizer, documents: Iterable[Document], *, stride: int | None = None
) -> Iterator[DocumentScore]:
    """Score each document `bos … eos` in windows of the model's context, in order.

    `stride` is the number of new targets a window scores, by default half of the context. The text is encoded
    as ordinary text, and its bytes are those of the text as given. Raises ExnihiloError where a probability
    is not finite.
    """
    context = model.config.max_length
    stride = max(1, context // 2) if stride is None else min(stride, context)
    for held in _groups(documents, DOCUMENTS_HELD):
        encoded = tokenizer.encode_batch([document.text for document in held])
        ids = [[tokenizer.bos, *row, tokenizer.eos] for row in encoded]
        nats = _score(model, ids, context, stride)
        for document, row, total in zip(held, ids, nats, strict=True):
            if not math.isfinite(total):
                raise ExnihiloError(
                    f"the model gives document {document.id} no finite probability; "
                    "its weights are broken: train it again"
                )
            size = len(document.text.encode("utf-8"))
            yield DocumentScore(document.id, document.source, size, len(row) - 1, total)


def _score(model: Decoder, ids: list[list[int]], context: int, stride: int) -> list[float]:
    jobs = [
        _Job(i, w, row[w.start : w.stop], row[w.first + 1 : w.stop + 1])
        for i, row in enumerate(ids)
        for w in windows(len(row) - 1, context, stride)
    ]
    jobs.sort(key=lambda job: len(job.inputs))
    nats = [0.0] * len(ids)
    while jobs:
        longest = len(jobs[-1].inputs)
        count = max(1, FORWARD_TOKENS // longest)
        batch, jobs = jobs[-count:], jobs[:-count]
        for job, value in zip(batch, _forward(model, batch, longest), strict=True):
            nats[job.document] += value
    return nats


@torch.inference_mode()
def _forward(model: Decoder, batch: list[_Job], length: int) -> list[float]:
    device = next(model.parameters()).device
    # Padding stands on the right, where causal attention keeps it from every scored position.
    tokens = torch.tensor([job.inputs + [0] * (length - len(job.inputs)) for job in batch], device=device)
    rows = torch.tensor([i for i, job in enumerate(batch) for _ in job.targets], device=device)
    columns = torch.tensor(
        [c - job.window.start for job in batch for c in range(job.window.first, job.window.stop)],
        device=device,
    )
    targets = torch.tensor([target for job in batch for target in job.targets], device=device)
    scored = model.hidden(tokens)[rows, columns]
    parts = zip(torch.split(scored, HEAD_POSITIONS), torch.split(targets, HEAD_POSITIONS), strict=True)
    logprobs = torch.cat([gather_logprobs(model.head(part), wanted) for part, wanted in parts])
    totals = torch.zeros(len(batch), dtype=torch.float64, device=device)
    totals.index_add_(0, rows, -logprobs.double())
    return totals.tolist()


def _groups(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    held: list[Document] = []
    for document in documents:
        held.append(document)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
