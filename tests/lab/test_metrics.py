"""Metrics: their names, which side is better, and differences item by item."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.core.jsonl import write_jsonl
from exnihilo.lab import metrics
from exnihilo.lab.figures import unit_of

AVAILABLE = [
    *(
        "base.bits_per_byte",
        "base.loss",
        "base.perplexity",
        "base.accuracy",
        "base.accuracy/doc",
        "base.ended",
    ),
    *("base.validation_loss", "base.validation_bits_per_byte", "base.training_loss"),
    *("base.tokens_per_second", "base.seconds"),
]


def test_by_default_all_scores_and_the_validation_loss() -> None:
    assert metrics.chosen([], AVAILABLE, True) == [*AVAILABLE[:2], *AVAILABLE[3:7]]
    different = metrics.chosen([], AVAILABLE, False)
    assert different == [AVAILABLE[0], *AVAILABLE[3:6], "base.validation_bits_per_byte"]


def test_without_evaluation_and_validation_the_training_is_compared() -> None:
    trained = ["base.training_loss", "base.seconds"]
    assert metrics.chosen([], trained, True) == trained
    assert metrics.chosen([], trained, False) == ["base.seconds"], "losses per token of other tokens"


def test_a_metric_is_asked_for_by_name_or_of_one_model() -> None:
    assert metrics.chosen(["accuracy"], [*AVAILABLE, "sft.accuracy"], True) == [
        "base.accuracy",
        "sft.accuracy",
    ]
    assert metrics.chosen(["base.accuracy/doc", "seconds"], AVAILABLE, True) == [
        "base.accuracy/doc",
        "base.seconds",
    ]
    with pytest.raises(ConfigError, match=r"accuracy/type: not measured; there are: base.bits_per_byte"):
        metrics.chosen(["accuracy/type"], AVAILABLE, True)


def test_every_metric_has_a_unit_and_a_better_side() -> None:
    assert [metrics.better(one) for one in AVAILABLE] == [-1, -1, -1, 1, 1, 0, -1, -1, -1, 1, -1]
    known = [*metrics.TRAINING, *metrics.SCORES, "accuracy/doc", "bits_per_byte/python"]
    assert {unit_of(f"base.{one}") for one in known} == {
        "bits per byte", "nats per token", "perplexity", "points", "tokens per second", "seconds",
    }  # fmt: skip


def results(folder: Path, answers: Sequence[tuple[str, str, bool]], bits: Sequence[float] = ()) -> Path:
    folder.mkdir(parents=True)
    items = [{"id": i, "family": f, "correct": c, "finish": "stop" if c else "length"} for i, f, c in answers]
    write_jsonl(folder / "items" / "base.jsonl", items)
    documents = [
        {"id": f"d{i}", "source": "ab"[i % 2], "bytes": 100, "tokens": 40, "bits": one, "nats": one / 2}
        for i, one in enumerate(bits)
    ]
    write_jsonl(folder / "documents" / "base.jsonl", documents)
    (folder / "results.json").write_text(json.dumps({"models": {}, "trained": ["sum"]}))
    return folder


def test_items_are_paired_within_a_seed_and_averaged_over_seeds(tmp_path: Path) -> None:
    """Item 1 of `sum` is gained in both seeds, item 2 in one: +0.75 there, and `doc` does not move."""
    wrong = [("1", "sum", False), ("2", "sum", False), ("3", "doc", True), ("4", "doc", False)]
    right = [("1", "sum", True), ("2", "sum", True), ("3", "doc", True), ("4", "doc", False)]
    half = [("1", "sum", True), ("2", "sum", False), *right[2:]]
    a = results(tmp_path / "a", wrong)
    pairs = [(a, results(tmp_path / "b1", right[::-1])), (a, results(tmp_path / "b2", half))]

    def interval(metric: str) -> Any:
        return metrics.item_interval(metric, pairs, seed=1)

    assert interval("base.accuracy/sum").value == pytest.approx(0.75)
    assert interval("base.accuracy/doc") is None  # nothing moved: two items cannot tell 0 from a little
    assert interval("base.accuracy").value == pytest.approx(0.375) and interval("base.accuracy").n == 4
    assert interval("base.accuracy/trained").value == pytest.approx(0.75)
    assert interval("base.accuracy_items").value == interval("base.ended").value == pytest.approx(0.375)
    found = interval("base.accuracy")
    assert found.low <= found.value <= found.high and found.low < found.high
    assert interval("base.perplexity") is None and interval("base.seconds") is None
    assert interval("other.accuracy") is None


def test_text_is_paired_document_by_document(tmp_path: Path) -> None:
    a = results(tmp_path / "a", [], bits=[100, 200, 300, 150])
    b = results(tmp_path / "b", [], bits=[90, 190, 290, 140])
    for metric, value in (
        ("base.bits_per_byte", -0.1),
        ("base.bits_per_byte/a", -0.1),
        ("base.loss", -0.125),
    ):
        found = metrics.item_interval(metric, [(a, b)], seed=1)
        assert found is not None
        assert (found.value, found.low, found.high) == (pytest.approx(value),) * 3
    assert metrics.same_items([(a, b)], ["base"])
    fewer = results(tmp_path / "c", [], bits=[90])
    assert not metrics.same_items([(a, fewer)], ["base"])
    assert (
        metrics.item_interval("base.bits_per_byte", [(a, fewer)], seed=1) is None
    )  # one document tells nothing


def test_eval_14_intervals_over_items_cover_93_to_97_percent(tmp_path: Path) -> None:
    """A/A over items: two answers of equal chance to 120 questions, three seeds, 400 experiments."""
    import numpy as np

    generator = np.random.default_rng(3)
    covered = 0
    for trial in range(400):
        ease = generator.random(120)
        gained = [
            (generator.random(120) < ease).astype(float) - (generator.random(120) < ease).astype(float)
            for _ in range(3)
        ]
        found = metrics.macro_bootstrap({"": np.mean(gained, axis=0).tolist()}, seed=trial, draws=1000)
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 400 <= 0.97
