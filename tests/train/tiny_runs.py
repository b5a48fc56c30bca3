"""A decoder small enough to train in a test, a source for it, and whole runs that a test can start as a
process."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exnihilo.core.events import EventLog
from exnihilo.core.stopping import stop_signal
from exnihilo.core.workspace import Workspace
from exnihilo.model.adapters import add_lora
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives.causal import causal
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.state import Scalars, check_state
from exnihilo.train.config import FitConfig
from exnihilo.train.fit import FitResult, fit
from exnihilo.train.state import TrainingState

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

    def resume(self, state: Scalars) -> None:
        check_state(state, self.state())


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


def train_or_die(
    rank: int, folder: Path, steps: int, resume: str, kill_at: int, number: int, low_rank: bool = False
) -> None:
    """Train in this process, which sends itself signal `number` when it asks for the batch of step
    `kill_at`. With `low_rank` adapters are trained, under dropout."""
    source, model = CountingRows(), tiny_decoder()
    if low_rank:
        add_lora(model, LoraConfig(rank=2, dora=True, dropout=0.2), seed=7)
    plain_next = source.next

    def next_or_die(step: int, model: object = None) -> Batch:
        if step == kill_at:
            os.kill(os.getpid(), number)
        return plain_next(step, model)

    source.next = next_or_die  # type: ignore[method-assign]
    config = FitConfig(steps=steps, log_every=1, checkpoint_every=10, clip=0.5)
    with stop_signal() as stopped:
        fit(model, causal, source, config, workspace_at(folder, resume, stop_signal=stopped))


EDGE = 1.0612
CLIFF_STEPS = 14


def cliff(model: Any, batch: Batch) -> Loss:
    """Cross-entropy on a slope with a cliff: the weights of the last norm, which begin at 1, are drawn upwards, and
    above `EDGE` the loss takes the logarithm of a negative number.

    AdamW moves each by its learning rate a step. At 0.01, falling to 0 over 14 steps, they pass the edge in the
    eighth; when the rate is halved after the fourth, they end at 1.0589.
    """
    loss = causal(model, batch)
    place = model.norm.weight.mean()
    return Loss(loss.total + loss.weight * (-10 * place + 0 * torch.log(EDGE - place)), loss.weight)


def walk(
    folder: Path,
    resume: str = "auto",
    *,
    model: Decoder | None = None,
    share: float = 1.0,
    stop_after: int | None = None,
    **settings: Any,
) -> FitResult:
    """Train towards the cliff at `share` of the learning rates that lead over it; SIGTERM in step `stop_after`."""
    asked: list[int] = []

    class Rows(CountingRows):
        def next(self, step: int, model: object = None) -> Batch:
            if step + 1 == stop_after:
                asked.append(signal.SIGTERM)
            return super().next(step)

    optimizer = {"lr": 0.02 * share, "lr_embedding": 0.01 * share}
    values = {
        "steps": CLIFF_STEPS,
        "checkpoint_every": 4,
        "log_every": 1,
        "clip": None,
        "optimizer": optimizer,
    }
    return fit(
        tiny_decoder() if model is None else model,
        cliff,
        Rows(),
        FitConfig.model_validate(values | settings),
        workspace_at(folder, resume, stop_signal=lambda: asked[0] if asked else None),
    )


def walk_or_die(rank: int, folder: Path, at: int) -> None:
    """Walk over the cliff; `kill -9` at the given change of the file system after the fall."""
    changes = {"open", "os.rename", "os.remove", "os.rmdir"}
    seen: list[str] = []
    fallen: list[int] = []
    plain = TrainingState.go_back

    def go_back(self: TrainingState, done: int, reason: str) -> int:
        fallen.append(done)
        return plain(self, done, reason)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not fallen or event not in changes:
            return
        if event == "open" and not int(arguments[2]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(event)

    TrainingState.go_back = go_back  # type: ignore[method-assign]
    sys.addaudithook(hook)
    walk(folder)
