"""Norms by parameter: what they say, and that measuring changes nothing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import CountingRows, metrics, tiny_decoder, workspace_at

from exnihilo.core.workspace import Workspace
from exnihilo.objectives.causal import causal
from exnihilo.train.config import FitConfig, OptimizerConfig
from exnihilo.train.fit import fit
from exnihilo.train.norms import measured


def norms(work: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work.path / "norms.jsonl").read_text().splitlines()]


def test_norms_of_a_step_are_those_of_its_tensors() -> None:
    matrix = torch.nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    empty = torch.nn.Parameter(torch.zeros(2))
    frozen = torch.nn.Parameter(torch.ones(2))
    matrix.grad, empty.grad = torch.tensor([[0.6, 0.0], [0.0, 0.8]]), torch.tensor([0.0, 2.0])
    found: dict[str, Any] = {}
    with (
        measured({"m": matrix, "e": empty, "f": frozen}, 0.5, lambda **more: found.update(more)),
        torch.no_grad(),
    ):
        matrix.add_(torch.full((2, 2), 0.5))
        empty.add_(1.0)
    assert found == {
        "weight": {"m": 5.0, "e": 0.0},
        "gradient": {"m": 2.0, "e": 4.0},  # before clipping halved them
        "update_ratio": {"m": pytest.approx(1.0 / 5.0), "e": None},
    }


def test_gradient_norms_add_up_to_the_global_one_and_are_recorded_when_due(tmp_path: Path) -> None:
    work = workspace_at(tmp_path)
    config = FitConfig(steps=10, log_every=1, norms_every=4, clip=0.05)
    fit(tiny_decoder(), causal, CountingRows(), config, work)
    lines = norms(work)
    assert [line["step"] for line in lines] == [1, 4, 8, 10]
    total = {one["step"]: one["grad_norm"] for one in metrics(work)}
    names = {name for name, _ in tiny_decoder().named_parameters()}
    for line in lines:
        assert set(line["weight"]) == set(line["gradient"]) == set(line["update_ratio"]) == names
        assert total[line["step"]] > 0.05  # clipped, so that undoing it is tested
        squares = sum(norm**2 for norm in line["gradient"].values())
        assert math.sqrt(squares) == pytest.approx(total[line["step"]], rel=1e-3)


def test_an_update_of_muon_is_its_learning_rate_and_of_a_still_run_nothing(tmp_path: Path) -> None:
    rates = OptimizerConfig(lr=0.02, lr_embedding=0.0)
    config = FitConfig(steps=1, norms_every=1, optimizer=rates)
    work = workspace_at(tmp_path)
    fit(tiny_decoder(), causal, CountingRows(), config, work)
    (line,) = norms(work)
    name = "blocks.0.feed_forward.down.weight"  # 16 x 22: sixteen singular values near 1
    moved = line["update_ratio"][name] * line["weight"][name]
    assert 0.7 * 0.02 * 4 < moved < 1.25 * 0.02 * 4
    assert line["update_ratio"]["embedding.weight"] == 0.0


def test_measuring_changes_no_weight_and_off_writes_nothing(tmp_path: Path) -> None:
    trained = []
    for name, every in (("on", 1), ("off", 0)):
        model, work = tiny_decoder(), workspace_at(tmp_path / name)
        fit(model, causal, CountingRows(), FitConfig(steps=6, norms_every=every), work)
        trained.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        assert (work.path / "norms.jsonl").exists() == (name == "on")
    assert torch.equal(*trained)


def test_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    config = FitConfig(steps=8, norms_every=1, checkpoint_every=4)
    fit(tiny_decoder(), causal, CountingRows(), config, workspace_at(tmp_path))
    work = workspace_at(tmp_path)
    whole = norms(work)
    assert [line["step"] for line in whole] == list(range(1, 9))
    # As after a kill between steps 6 and 7: the last checkpoint is that of step 4.
    shutil.rmtree(work.path / "checkpoints/step-00000008")
    resumed = workspace_at(tmp_path)
    fit(tiny_decoder(), causal, CountingRows(), config, resumed)
    assert norms(resumed) == whole
