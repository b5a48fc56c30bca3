"""The machine, its cost and `doctor`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from exnihilo.core.cost import CO2E_LB_PER_KWH, PUE, cost
from exnihilo.core.doctor import Check, diagnose
from exnihilo.core.machine import describe, matmul_peak, usable_cores


def test_the_description_is_json_and_names_nobody() -> None:
    found = describe()
    text = json.dumps(found)
    assert {"cpu", "cores", "memory_gib", "os", "architecture", "python", "torch"} <= found.keys()
    assert found["cores"] == usable_cores() >= 1 and found["memory_gib"] > 0.1
    assert found["python"] == platform.python_version() and found["torch"].startswith("2.")
    assert str(Path.home()) not in text and (len(os.uname().nodename) < 3 or os.uname().nodename not in text)


def test_cores_are_those_that_the_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_configs_and_stages_are_imported_without_torch() -> None:
    rooms = "config stage build lineage cost statistics machine artifact workspace"
    source = f"""
import sys
for name in {rooms.split()}:
    __import__("exnihilo.core." + name)
from exnihilo.core.machine import describe
assert describe()["torch"]
print("torch" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_the_peak_counts_two_operations_for_each_multiply_and_is_not_below_any_one_product() -> None:
    import time

    import torch

    peak = matmul_peak(0.2)
    left = torch.ones(700, 700)
    start = time.perf_counter()
    left @ left
    once = 2 * 700**3 / (time.perf_counter() - start)
    assert once < 2 * peak
    # A core does at most 2 units × 16 lanes × 2 operations a cycle, at less than 6.5 GHz.
    assert 1e8 < peak < 64 * 6.5e9 * (os.cpu_count() or 1)


def test_cost_by_hand() -> None:
    found = cost(3600, {"cores": 2, "memory_gib": 8.0}, watts_per_core=10.0, watts_per_gib=0.5)
    assert found.watts == 24.0
    assert found.kwh == pytest.approx(1.58 * 24 / 1000)
    assert found.co2e_lb == pytest.approx(0.954 * 1.58 * 24 / 1000)
    assert found.co2e_kg == pytest.approx(found.co2e_lb * 0.45359237)
    assert (PUE, CO2E_LB_PER_KWH) == (1.58, 0.954)
    assert found.energy_formula == (
        "PUE 1.58 × 1 h × (2 cores × 10 W + 8 GiB × 0.5 W) / 1000 = 0.03792 kWh (power assumed)"
    )
    assert found.carbon_formula == "0.954 lb/kWh × 0.03792 kWh = 0.03618 lb = 0.01641 kg CO2e"


def test_cost_is_linear_in_time_and_counts_devices() -> None:
    machine = {"cores": 4, "memory_gib": 16.0, "gpu": ["one", "two"]}
    assert cost(20, machine).kwh == pytest.approx(2 * cost(10, machine).kwh)
    assert cost(10, machine, watts_per_gpu=100.0).watts == cost(10, {**machine, "gpu": []}).watts + 200.0
    assert "2 GPU × 300 W" in cost(10, machine).energy_formula


def test_doctor_looks_at_everything_and_runs_the_checks_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Check("template", False, "the end of turn is not trained", "use the tokenizer's template")
    found = {check.name: check for check in diagnose([lambda: mine])}
    assert {"versions", "cores", "memory", "multiply on cpu", "disk", "compiler", "template"} <= found.keys()
    assert found["versions"].ok and "torch 2." in found["versions"].detail
    assert "GFLOP/s" in found["multiply on cpu"].detail
    assert found["disk"].ok and not list(tmp_path.iterdir())
    assert found["template"] is mine
    assert all(check.fix for check in found.values() if check.ok is False)


def test_doctor_says_what_to_do_without_a_compiler_or_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**20})())
    found = {check.name: check for check in diagnose()}
    assert found["compiler"].ok is None and "install gcc or clang" in found["compiler"].fix
    assert found["disk"].ok is False and "--run DIR" in found["disk"].fix
