"""Equal compute: which keys need a probe, how steps follow from costs, what counts as equal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_comparison import question, write_recipe

from exnihilo.lab import compute
from exnihilo.lab.compute import Measured, Spent
from exnihilo.lab.layout import affecting
from exnihilo.train.config import FitConfig
from exnihilo.train.pretrain import PretrainConfig
from exnihilo.train.sft import SFTConfig


@pytest.mark.parametrize(
    ("vary", "probed"),
    [
        ("base.optimizer.name=muon,adamw", []),
        ("base.schedule.kind=linear,wsd", []),
        ("base.precision=float32,bfloat16", []),
        ("aligned.beta=0.02,0.1", []),
        ("base.model.depth=2,3", ["base", "sft", "longer", "aligned"]),
        ("tokenizer.vocabulary=400,512", ["base", "sft", "longer", "aligned"]),
        ("sft.rows=8,12", ["sft"]),
        ("longer.length=128,192", ["longer"]),
    ],
)
def test_only_keys_that_can_change_what_a_step_costs_are_probed(vary: str, probed: list[str]) -> None:
    arms = question("smoke", vary).arms
    assert compute.to_be_probed(arms, "flops") == probed
    assert compute.to_be_probed(arms, "steps") == []
    assert {*probed} <= {*compute.to_be_probed(arms, "time")}


def test_the_free_keys_are_keys_of_training() -> None:
    known = {*FitConfig.model_fields}
    assert {"steps", "optimizer", "schedule", "clip", "precision", "micro_rows"} <= compute.FREE & known
    assert not compute.FREE & {
        "rows",
        "length",
        "model",
        "epochs",
        "train_tokens",
        "group",
        "prompts",
        "anchor",
    }


def test_how_long_to_train_can_vary_only_where_nothing_is_held_equal() -> None:
    assert question("smoke", "sft.steps=120,240", equal="steps").models == ["sft", "longer", "aligned"]


def test_a_probe_is_short_and_records_nothing() -> None:
    asked = question("smoke", "base.model.depth=2,3")
    first = {
        "base": Measured(24, 8, 128),
        "sft": Measured(240, None, None),
        "longer": Measured(4, None, None),
    }
    keys = affecting(asked.arms)
    short = compute.shortened(asked.arms[1], first, ["sft"], keys).recipe.stages
    assert list(short) == ["library", "corpus", "tokenizer", "tokens", "questions", "base", "sft"]
    base, sft = short["base"].config, short["sft"].config
    assert isinstance(base, PretrainConfig) and isinstance(sft, SFTConfig)
    assert (base.steps, base.model.depth, base.validation_rows, base.log_every) == (8, 3, 0, 1)
    assert (sft.steps, sft.sample_prompts) == (8, [])


def test_a_batch_left_open_is_the_first_arms(here: Path) -> None:
    """How many steps are asked for decides a derived batch: setting steps must not change it."""
    text = write_recipe(here).read_text(encoding="utf-8").replace("steps: 60", "train_tokens: 4k")
    (here / "open.yaml").write_text(text.replace("    rows: 2\n    length: 32\n", ""), encoding="utf-8")
    asked = question("open.yaml", "base.model.depth=1,2")
    given = compute.with_steps(asked.arms[1], {"base": 7}, {"base": Measured(14, 4, 64)}).recipe.stages[
        "base"
    ]
    assert isinstance(given.config, PretrainConfig)
    assert (given.config.steps, given.config.train_tokens) == (7, None)
    assert (given.config.rows, given.config.length, given.config.model.depth) == (4, 64, 2)


def test_steps_follow_from_costs_and_small_differences_change_nothing() -> None:
    first = {"base": Measured(1000, None, None), "sft": Measured(300, None, None)}
    costs = {"base": (3.0e9, 4.0e9), "sft": (2.0e9, 2.015e9)}
    assert compute.equal_steps(first, costs, "flops") == {"base": 750, "sft": 300}
    assert compute.equal_steps(first, {"base": (1.0, 5000.0)}, "time") == {"base": 1}


def test_the_cost_of_a_step_is_counted_or_the_median_of_its_seconds(tmp_path: Path) -> None:
    metrics = {"steps": 5, "skipped": 1, "flops": 8e9}
    manifest = {"schema": 1, "kind": "model", "content": "", "files": {}, "key": "", "metrics": metrics}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    times = [(1, 5.0), (2, 5.1), (3, 5.2), (5, 5.6), (5, None)]
    records = [{"step": step} | ({} if time is None else {"time": time}) for step, time in times]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert compute.step_cost(tmp_path, "flops") == 2e9
    assert compute.step_cost(tmp_path, "time") == pytest.approx(0.1)


def test_totals_over_all_stages_decide_what_is_equal() -> None:
    spendings = [
        Spent("base", "a", [10, 10], [100.0, 100.0], [1.0, 1.0]),
        Spent("sft", "a", [5, 5], [50.0, 50.0], [1.0, 1.0]),
        Spent("base", "b", [10, 10], [103.0, 100.0], [1.0, 1.3]),
        Spent("sft", "b", [5, 5], [50.0, 50.0], [1.0, 1.0]),
    ]
    assert compute.furthest(spendings, "flops") == pytest.approx(0.02)
    assert compute.furthest(spendings, "steps") == 0
    assert compute.furthest(spendings, "time") == pytest.approx(0.15)
