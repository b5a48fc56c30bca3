"""Out of memory, really: the allocator of the CPU refuses, or the process may not have more."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import CountingRows, start_processes, tiny_decoder, workspace_at

from exnihilo.core.errors import OutOfMemory
from exnihilo.core.memory import is_out_of_memory
from exnihilo.objectives.causal import causal
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import Batch
from exnihilo.train.checkpoint import load_checkpoint
from exnihilo.train.config import FitConfig
from exnihilo.train.fit import fit
from exnihilo.train.step import Accumulator

TOO_MUCH = 1 << 46  # 64 TiB


def torch_refuses() -> None:
    torch.empty(TOO_MUCH, dtype=torch.uint8)


def numpy_refuses() -> None:
    np.ones(TOO_MUCH, dtype=np.uint8)


def python_refuses() -> None:
    bytearray(TOO_MUCH)


def device_refuses() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


REFUSALS = [torch_refuses, numpy_refuses, python_refuses, device_refuses]


def gradient(
    objective: Callable[[Any, Batch], Loss], micro_rows: int | None
) -> tuple[torch.Tensor, list[str]]:
    model = tiny_decoder()
    accumulator = Accumulator(model, objective, micro_rows)
    accumulator.gradients(CountingRows(rows=8).next(0))
    flat = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    return flat, accumulator.take_remarks()


@pytest.mark.parametrize("refuse", REFUSALS)
def test_whoever_runs_out_of_memory_the_rows_at_once_are_halved(refuse: Callable[[], None]) -> None:
    """To the bit the gradient of a run that was told micro_rows."""

    def hungry(model: Any, part: Batch) -> Loss:
        loss = causal(model, part)
        if len(part) > 2:
            refuse()
        return loss

    found, remarks = gradient(hungry, None)
    expected, none = gradient(causal, 2)
    assert torch.equal(found, expected) and none == []
    assert remarks == [
        "out of memory with 8 rows at once; going on with 4",
        "out of memory with 4 rows at once; going on with 2",
    ]


@pytest.mark.parametrize("refuse", REFUSALS)
def test_memory_that_does_not_suffice_for_a_row_is_told(refuse: Callable[[], None]) -> None:
    def insatiable(model: Any, part: Batch) -> Loss:
        refuse()
        return causal(model, part)

    with pytest.raises(OutOfMemory, match="one row does not fit into memory"):
        gradient(insatiable, None)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def wrong(model: Any, part: Batch) -> Loss:
        return Loss(torch.ones(2, 3) @ torch.ones(2, 3), torch.ones(()))

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        gradient(wrong, None)
    assert not is_out_of_memory(RuntimeError("no kernel image is available"))
    assert not is_out_of_memory(ValueError("out of memory"))


def virtual_memory() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def short_of_memory(
    rank: int, folder: Path, micro_rows: int | None, budget: int | None, steps: int = 2
) -> None:
    """Steps of 4,096 tokens through 4,096 hidden units, which take 0.5 GB at once, in what `budget` allows."""
    model = tiny_decoder(depth=1, width=8, hidden=4096)
    source = CountingRows(rows=64, length=64)
    # What libraries allocate on first use must not count.
    Accumulator(model, causal, 1).gradients(source.next(0).rows(0, 1))
    if budget is not None:
        limit = virtual_memory() + budget
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    even = {"kind": "constant", "warmup": 0}
    config = FitConfig.model_validate(
        {"steps": steps, "micro_rows": micro_rows, "log_every": 1, "schedule": even}
    )
    fit(model, causal, source, config, workspace_at(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited by Linux")
def test_a_step_that_does_not_fit_goes_on_in_smaller_parts_to_the_same_weights(tmp_path: Path) -> None:
    assert start_processes(1, short_of_memory, tmp_path / "short", None, 200 << 20) == [0]
    name = "stage.partial/checkpoints/step-00000002"
    short = load_checkpoint(tmp_path / "short" / name)
    fitting = short.state["micro_rows"]
    assert fitting in (2, 4, 8, 16, 32)
    events = [json.loads(line) for line in (tmp_path / "short/events.jsonl").read_text().splitlines()]
    told = [event["message"] for event in events if event["event"] == "out_of_memory"]
    assert told[0] == "step 1: out of memory with 64 rows at once; going on with 32"
    assert told[-1].endswith(f"going on with {fitting}")

    # What fitted in the first step may not in the second: the heap is no longer in one piece.
    for step in (1, 2):
        until = [line for line in told if int(line.split()[1].rstrip(":")) <= step]
        rows = int(until[-1].rsplit(" ", 1)[1])
        assert start_processes(1, short_of_memory, tmp_path / "told", rows, None, step) == [0]
    assert start_processes(1, short_of_memory, tmp_path / "whole", None, None) == [0]
    same, whole = load_checkpoint(tmp_path / "told" / name), load_checkpoint(tmp_path / "whole" / name)
    for key, tensor in (short.parameters | short.optimizer).items():
        assert torch.equal((same.parameters | same.optimizer)[key], tensor), key
    for key, tensor in short.parameters.items():
        assert (whole.parameters[key] - tensor).abs().max() < 1e-4, key


def test_what_fitted_is_remembered_by_a_run_that_goes_on(tmp_path: Path) -> None:
    """After a resume the first step takes the parts of the last one, and so gives the same bits."""
    seen: list[int] = []

    def hungry(model: Any, part: Batch) -> Loss:
        seen.append(len(part))
        if len(part) > 3:
            torch_refuses()
        return causal(model, part)

    def run(steps: int, **settings: Any) -> None:
        config = FitConfig.model_validate({"steps": steps, **settings})
        fit(tiny_decoder(), hungry, CountingRows(rows=6), config, workspace_at(tmp_path))

    run(1)
    run(2)
    assert seen == [6, 3, 3, 3, 3]
    seen.clear()
    run(3, micro_rows=2)  # who says how many is obeyed
    assert seen == [2, 2, 2]


COMMAND = """
import os, resource, sys
from pathlib import Path
import torch
from exnihilo.train import fit, muon
from exnihilo.cli.main import main

(torch.ones(64, 64, requires_grad=True) @ torch.ones(64, 64)).sum().backward()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * os.sysconf("SC_PAGE_SIZE") + (600 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited by Linux")
def test_a_row_that_does_not_fit_ends_the_command_with_code_4_and_one_line(
    tmp_path: Path, token_set: Path
) -> None:
    """A row of 2,048 tokens through 65,536 hidden units takes 1 GB for one of its layers alone."""
    shape = ["--model.depth", "1", "--model.width", "16", "--model.heads", "1", "--model.hidden", "65536"]
    rows = ["--rows", "2", "--length", "2048", "--steps", "2", "--validation_rows", "0"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "pretrain", "--tokens", str(token_set), *shape, *rows, "--out", "model"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr[-2000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: one row does not fit into memory; use shorter rows or a smaller model"]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists() and (tmp_path / "model.partial").is_dir()
