"""Toy stages and processes for the tests of core."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import Field

from exnihilo.core.config import Config, CorpusRef, ModelRef
from exnihilo.core.errors import ExnihiloError
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace


class CollectConfig(Config):
    text: str = "abc"
    copies: int = Field(3, ge=0)
    log_every: int = Field(10, json_schema_extra={"cosmetic": True})


class TrainConfig(Config):
    corpus: CorpusRef
    lr: float = Field(0.02, gt=0)
    steps: int = Field(6, ge=1, json_schema_extra={"horizon": True})
    die_at: int | None = Field(None, json_schema_extra={"cosmetic": True})


class EvaluateConfig(Config):
    models: list[ModelRef]
    note: str = ""


def collect(config: CollectConfig, inputs: Inputs, work: Workspace) -> None:
    for number in range(config.copies):
        (work.path / "train").mkdir(exist_ok=True)
        (work.path / "train" / f"{number}.txt").write_text(config.text * 1000)
    work.provenance = [{"source": "toy", "licence": "CC0-1.0", "generator": "", "amount": 3, "unit": "bytes"}]


def train(config: TrainConfig, inputs: Inputs, work: Workspace) -> None:
    """Saves a checkpoint after each step, and continues from the last."""
    corpus = inputs["corpus"]
    assert isinstance(corpus, Path)
    state = work.checkpoints / "state"
    step, weight = (
        (int(part) for part in state.read_text().split()) if state.exists() else (0, work.seed % 1000)
    )
    work.truncate_records(step)
    size = sum(len(path.read_bytes()) for path in sorted(corpus.glob("train/*")))
    while step < config.steps:
        step += 1
        weight = (weight * 31 + size) % 10007
        work.metric(step=step, loss=weight / 10007)
        if step == config.die_at:
            os.kill(os.getpid(), 9)
        temporary = state.with_suffix(".tmp")
        temporary.write_text(f"{step} {weight}")
        temporary.replace(state)
    (work.path / "weights").write_text(str(weight))
    work.summary = {"loss": weight / 10007}
    work.lines = [f"trained {step} steps"]


def evaluate(config: EvaluateConfig, inputs: Inputs, work: Workspace) -> None:
    models = inputs["models"]
    assert isinstance(models, dict)
    (work.path / "results.json").write_text(
        str({name: (at / "weights").read_text() for name, at in models.items()})
    )


@dataclass(frozen=True)
class Toys:
    collect: Stage
    train: Stage
    evaluate: Stage


@pytest.fixture
def toys() -> Toys:
    """Three small stages that really read and write: a corpus, a model that checkpoints, results."""
    return Toys(
        Stage("collect", "corpus", CollectConfig, collect, "copies of a text"),
        Stage("train", "model", TrainConfig, train, "a number trained"),
        Stage("evaluate", "results", EvaluateConfig, evaluate, "numbers read"),
    )


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[], None]], int]]:
    """`start(function)` runs it in a child process and returns its pid; it exits as the command line does."""
    children: list[int] = []

    def start(function: Callable[[], None]) -> int:
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            children.append(pid)
            return pid
        code = 70
        try:
            function()
            code = 0
        except ExnihiloError as error:
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    yield start
    for pid in children:
        try:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


@pytest.fixture
def ended() -> Callable[[int], int]:
    """`ended(pid)` waits for a child and returns its exit code, negative for a signal that killed it."""
    return lambda pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
