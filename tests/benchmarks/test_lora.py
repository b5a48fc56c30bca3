"""Tuning by ours and by `peft` is the same work, on a shape small enough here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import OURS
from benchmarks.lora import FULL, PEFT, _checks, _saved
from benchmarks.systems import exnihilo_lora, peft_lora
from benchmarks.systems.resident import peak_resident, resident
from benchmarks.systems.shapes import Shape

TINY = Shape(vocabulary=64, depth=2, width=32, hidden=48, rows=2, length=24, head_dim=16)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_tuning_gives_the_losses_of_peft(kind: str, tmp_path: Path) -> None:
    folder: dict[str, Any] = {"shape": TINY.as_dict(), "folder": str(tmp_path)}
    exnihilo_lora.write(**folder, rank=4)
    prepared, results = {}, {}
    for name, system, adapter in (
        (OURS, exnihilo_lora, kind),
        (PEFT, peft_lora, kind),
        (FULL, exnihilo_lora, None),
    ):
        prepared[name] = system.prepare(**folder, adapter=adapter)
        results[name] = [system.measure(3)]
        assert -1 < system.memory() < 10_000
    checks = {check.name: check for check in _checks(prepared, results)}
    assert all(check.ok for check in checks.values()), checks
    assert results[OURS][0]["losses"] == pytest.approx(results[PEFT][0]["losses"], rel=1e-3)
    assert prepared[OURS]["losses"] != pytest.approx(prepared[FULL]["losses"], rel=1e-3)  # the adapters count
    assert f"{prepared[OURS]['trained']:,} of {TINY.parameters:,} parameters" in _saved(prepared)
    # AdamW keeps two numbers a trained parameter, and a step count a tensor.
    assert prepared[OURS]["optimizer_state"] * 2**20 == pytest.approx(8 * prepared[OURS]["trained"], rel=0.1)
    other = {**prepared, PEFT: {**prepared[PEFT], "losses": [4.0, 3.0]}}
    assert [check.name for check in _checks(other, results) if not check.ok] == ["losses"]


def test_memory_is_read_from_the_system() -> None:
    assert 10 < resident() <= peak_resident() < 100_000
