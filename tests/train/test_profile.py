"""The profile of one step: a trace that a viewer opens, and numbers that are true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import CountingRows, tiny_decoder, workspace_at

from exnihilo.core.files import content_hash
from exnihilo.objectives.causal import causal
from exnihilo.train.config import FitConfig
from exnihilo.train.fit import fit
from exnihilo.train.profile import Profile, profiled
from exnihilo.train.telemetry import Peak


def test_matrix_products_are_counted_timed_and_compared_with_the_peak(tmp_path: Path) -> None:
    told: list[Profile] = []
    left, right = torch.randn(64, 256), torch.randn(256, 128)
    with profiled(tmp_path, 7, torch.device("cpu"), Peak(1e9, "made up"), told.append):
        for _ in range(3):
            torch.nn.functional.linear(left, right.T).relu()
    (found,) = told
    assert found.step == 7 and found.products.flops == 3 * 2 * 64 * 256 * 128
    assert 0 < found.products.seconds <= found.seconds
    assert found.products.share == pytest.approx(found.products.seconds / found.seconds)
    assert found.products.of_peak == pytest.approx(found.products.flops_per_second / 1e9)
    calls = {one.name: one.calls for one in found.operations}
    assert calls["aten::mm"] == 3 and calls["aten::relu"] == 3
    shares = [one.share for one in found.operations]
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.001 and len(shares) <= 10
    assert json.loads((tmp_path / "profile.json").read_text())["products"]["flops"] == found.products.flops
    assert "matrix products" in found.lines()[0] and any(
        line.startswith("aten::mm ") for line in found.lines()
    )


def test_a_run_profiles_its_third_step_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    work = workspace_at(tmp_path)
    fit(tiny_decoder(), causal, CountingRows(), FitConfig(steps=6, profile=True), work)
    trace: dict[str, Any] = json.loads((work.path / "trace.json").read_text())
    names = {event.get("name") for event in trace["traceEvents"]}
    assert "aten::mm" in names and any("Backward" in str(name) for name in names)
    assert any("Optimizer.step" in str(name) for name in names)  # the whole step, the update included
    assert json.loads((work.path / "profile.json").read_text())["step"] == 3
    said = capfd.readouterr().err
    assert said.count("matrix products") == 1 and "aten::" in said and "perfetto" in said
    assert "USDT" not in said and not list(work.path.glob(".*"))


def test_a_run_shorter_than_that_profiles_its_last_step(tmp_path: Path) -> None:
    work = workspace_at(tmp_path)
    fit(tiny_decoder(), causal, CountingRows(), FitConfig(steps=2, profile=True), work)
    assert json.loads((work.path / "profile.json").read_text())["step"] == 2


def test_what_is_shown_is_a_record_and_not_content(tmp_path: Path) -> None:
    hashes = []
    for name, more in (("plain", {}), ("shown", {"profile": True, "norms_every": 1, "log_every": 1})):
        model, work = tiny_decoder(), workspace_at(tmp_path / name)
        fit(model, causal, CountingRows(), FitConfig(steps=4, **more), work)
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        (work.path / "weights").write_bytes(weights.numpy().tobytes())
        hashes.append(content_hash(work.path))
    assert hashes[0] == hashes[1]
    assert not (tmp_path / "plain/stage.partial/trace.json").exists()
