"""Equal time in a grid: what two arms share is made once, though each stage's seconds are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_comparison import question

from exnihilo.lab import compute, runs
from exnihilo.lab.compute import Measured
from exnihilo.lab.layout import signatures


def test_a_stage_that_an_arm_shares_with_the_first_keeps_its_settings(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its steps would be spelled out in one arm and derived in the other: two artifacts instead of one."""

    def cost(stage: Path, equal: str) -> float:
        return 2.0 if "rows=12" in stage.parent.name else 1.0

    def nothing(*given: Any, **named: Any) -> None:
        return None

    monkeypatch.setattr(runs, "run", nothing)
    monkeypatch.setattr(runs, "make", nothing)
    monkeypatch.setattr(compute, "measured", lambda stage: Measured(100, 8, 128))
    monkeypatch.setattr(compute, "step_cost", cost)
    asked = question("smoke", "base.clip=1,null", "sft.rows=8,12", equal="time", seeds=1)
    arms, adjusted = runs.Runs(asked, here / "lab")._equalise(compute.to_be_probed(asked.arms, "time"))
    signed = {arm.name: signatures(arm.recipe, 1) for arm in arms}
    assert signed["clip=1, rows=12"]["base"] == signed["clip=1, rows=8"]["base"]
    assert signed["clip=null, rows=12"]["base"] == signed["clip=null, rows=8"]["base"]
    assert adjusted["clip=1, rows=12"] == dict.fromkeys(("sft", "longer", "aligned"), 50)
    assert "clip=null, rows=8" not in adjusted
