"""A decoder small enough to train in a test, a source for it, and whole runs that a test can start as a
process."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exnihilo.core.events import EventLog
from exnihilo.core.stopping import stop_signal
from exnihilo.core.workspace import Workspace
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import causal
from exnihilo.tokens.batch import Batch
from exnihilo.train.config import FitConfig
from exnihilo.train.fit import fit

VOCABULARY = 32


def tiny_decoder(seed: int = 0, *, width: int = 16, depth: int = 2, **more: Any) -> Decoder:
    """A decoder in which nothing is zero, so that every parameter has a gradient from the first step on."""
    torch.manual_seed(seed)
    shape = {"heads": 2, "kv_heads": 1, "head_dim": 6, "hidden": 22, "max_length": 64, **more}
    model = Decoder(DecoderConfig(vocab_size=VOCABULARY, width=width, depth=depth, **shape))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.2)
    return model


class CountingRows:
    """Rows that count upwards from a random start, two segments each, with a share of their weights at 0."""

    def __init__(self, rows: int = 4, length: int = 12, seed: int = 0, masked: float = 0.4) -> None:
        self.rows, self.length, self.seed, self.masked = rows, length, seed, masked

    def next(self, step: int, model: object = None) -> Batch:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        starts = torch.randint(VOCABULARY, (self.rows, 1), generator=generator)
        columns = torch.arange(self.length)
        border = self.length // 3
        positions = torch.where(columns < border, columns, columns - border).repeat(self.rows, 1)
        segments = (columns >= border).long().repeat(self.rows, 1)
        tokens = (starts + columns) % VOCABULARY
        kept: Tensor = torch.rand(self.rows, self.length, generator=generator) >= self.masked
        weights = kept.float()
        weights[:, border - 1] = weights[:, -1] = 0.0
        targets = torch.where(weights > 0, (tokens + 1) % VOCABULARY, 0)
        return Batch(tokens, positions, segments, targets, weights)

    def state(self) -> dict[str, int | float | str]:
        return {"source": "counting", "rows": self.rows, "length": self.length, "seed": self.seed}


def workspace_at(folder: Path, resume: str = "auto", **more: Any) -> Workspace:
    return Workspace(
        folder / "stage.partial", seed=1, stage="stage", resume=resume, log=EventLog(folder), **more
    )


def metrics(work: Workspace) -> list[dict[str, Any]]:
    path = work.path / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start_processes(number: int, function: Callable[..., None], *arguments: Any) -> list[int | None]:
    """Run `function(rank, *arguments)` in so many processes of their own; their exit codes.

    They are forked from a server that has imported what they need, and has no threads: a start takes 0.1 s
    instead of 4 (the first optimizer of a process imports torch._dynamo).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "tiny_runs"])
    processes = [context.Process(target=_one_thread, args=(function, i, *arguments)) for i in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def _one_thread(function: Callable[..., None], rank: int, *arguments: Any) -> None:
    torch.set_num_threads(1)
    function(rank, *arguments)


def train_or_die(rank: int, folder: Path, steps: int, resume: str, kill_at: int, number: int) -> None:
    """Train in this process, which sends itself signal `number` when it asks for the batch of step
    `kill_at`."""
    source = CountingRows()
    plain_next = source.next

    def next_or_die(step: int, model: object = None) -> Batch:
        if step == kill_at:
            os.kill(os.getpid(), number)
        return plain_next(step, model)

    source.next = next_or_die  # type: ignore[method-assign]
    config = FitConfig(steps=steps, log_every=1, checkpoint_every=10, clip=0.5)
    with stop_signal() as stopped:
        fit(tiny_decoder(), causal, source, config, workspace_at(folder, resume, stop_signal=stopped))
