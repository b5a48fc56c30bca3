"""Real process groups (gloo): the number of processes changes neither updates nor what a checkpoint is good for."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from tiny_runs import CountingRows, metrics, start_processes, tiny_decoder, workspace_at

from exnihilo.core.errors import ConfigError
from exnihilo.objectives.causal import causal
from exnihilo.tokens.batch import Batch
from exnihilo.train.checkpoint import load_checkpoint
from exnihilo.train.config import FitConfig, ScheduleConfig
from exnihilo.train.fit import fit
from exnihilo.train.step import Accumulator


def in_group(size: int, function: Callable[..., None], *arguments: Any) -> None:
    """Run `function(*arguments)` in `size` processes of one group; all must end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert start_processes(size, member, size, port, function, arguments) == [0] * size


def member(
    rank: int, size: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    try:
        function(*arguments)
    finally:
        dist.destroy_process_group()


def uneven_rows(step: int) -> Batch:
    """Seven rows of very different weight, one of them without any: no number of processes shares them evenly."""
    batch = CountingRows(rows=7, masked=0.2).next(step)
    for i in range(7):
        batch.weights[i, : 2 * i] = 0
    return batch


def write_gradients(out: Path) -> None:
    model = tiny_decoder().double()
    accumulator = Accumulator(model, causal, 1 if dist.is_initialized() else None)
    norm = accumulator.gradients(uneven_rows(0), limit=0.01).norm
    sums = accumulator.gradients(uneven_rows(0))
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    rank = dist.get_rank() if dist.is_initialized() else 0
    numbers = torch.tensor([sums.loss, sums.weight, norm], dtype=torch.float64)
    save_file({**gradients, "numbers": numbers}, out / f"{rank}.safetensors")


class UnevenRows(CountingRows):
    def next(self, step: int, model: object = None) -> Batch:
        return uneven_rows(step)


def train(out: Path, steps: int) -> None:
    schedule = ScheduleConfig(kind="constant")  # so that steps 0 to 2 are those of the longer run
    config = FitConfig(steps=steps, log_every=1, checkpoint_every=3, keep=9, schedule=schedule)
    fit(tiny_decoder().double(), causal, UnevenRows(), config, workspace_at(out))


def too_many_processes(out: Path) -> None:
    try:
        Accumulator(tiny_decoder(), causal, None).gradients(CountingRows(rows=1).next(0))
    except ConfigError as error:
        (out / f"{dist.get_rank()}.txt").write_text(str(error))


def test_train_1_and_train_8_four_processes_are_four_micro_batches_are_one_batch(tmp_path: Path) -> None:
    for size in (1, 4):
        (tmp_path / str(size)).mkdir()
    in_group(4, write_gradients, tmp_path / "4")
    write_gradients(tmp_path / "1")
    expected = load_file(tmp_path / "1/0.safetensors")
    micro = Accumulator(tiny_decoder().double(), causal, 2)
    assert micro.gradients(uneven_rows(0)).loss == pytest.approx(expected["numbers"][0].item(), rel=1e-12)
    for rank in range(4):
        found = load_file(tmp_path / f"4/{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():  # loss, weight and norm before clipping among them
            assert (found[name] - tensor).abs().max() <= 1e-10, name


def test_train_7_a_checkpoint_of_two_processes_goes_on_with_one_and_with_three(tmp_path: Path) -> None:
    """Odd shapes (22 x 16, 24 x 16, a head size of 6) and rows that no number of processes divides."""
    train(tmp_path / "straight", 6)
    in_group(2, train, tmp_path / "one", 3)
    shutil.copytree(tmp_path / "one", tmp_path / "three")
    train(tmp_path / "one", 6)
    in_group(3, train, tmp_path / "three", 6)
    expected = load_checkpoint(tmp_path / "straight/stage.partial/checkpoints/step-00000006")
    for name in ("one", "three"):
        folder = tmp_path / name
        found = load_checkpoint(folder / "stage.partial/checkpoints/step-00000006")
        for key, tensor in (expected.parameters | expected.optimizer).items():
            assert ((found.parameters | found.optimizer)[key] - tensor).abs().max() < 1e-10, key
        assert found.state["counters"]["tokens"] == expected.state["counters"]["tokens"]
        lines = metrics(workspace_at(folder))
        straight = metrics(workspace_at(tmp_path / "straight"))
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
        for ours, theirs in zip(lines, straight, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-9)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-9)
            assert ours["tokens"] == theirs["tokens"]


def test_fewer_rows_than_processes_is_an_error_on_every_rank(tmp_path: Path) -> None:
    in_group(2, too_many_processes, tmp_path)
    assert {path.read_text() for path in tmp_path.iterdir()} == {
        "a batch of 1 rows can't feed 2 processes; give each at least one row"
    }
    assert len(list(tmp_path.iterdir())) == 2
