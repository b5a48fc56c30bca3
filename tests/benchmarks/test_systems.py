"""What is measured is the same work: training and generation as `transformers` do them, on shapes small enough here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.generation import first_difference, same_texts
from benchmarks.harness import OURS
from benchmarks.systems import exnihilo_generation, exnihilo_training
from benchmarks.systems.model_folder import decoder_config, write_random
from benchmarks.systems.shapes import LARGE, MEDIUM, SMALL, Shape
from benchmarks.systems.token_rows import digest, token_rows
from benchmarks.systems.workloads import Workload
from benchmarks.training import cases, checks

TINY = Shape(vocabulary=64, depth=2, width=32, hidden=48, rows=2, length=24, head_dim=16)


@pytest.mark.parametrize(
    ("shape", "millions"), [(SMALL, 5.8), (MEDIUM, 29.5), (LARGE, 125.1), (TINY, 0.0197)]
)
def test_shapes_have_the_sizes_that_they_are_called_by(shape: Shape, millions: float) -> None:
    assert shape.parameters == decoder_config(shape).parameters
    assert shape.parameters / 1e6 == pytest.approx(millions, rel=0.01)


def test_rows_depend_on_the_step_alone() -> None:
    assert digest(token_rows(TINY, 3)) == digest(token_rows(TINY, 3)) != digest(token_rows(TINY, 4))
    assert token_rows(TINY, 0).shape == (2, 25) and int(token_rows(TINY, 0).max()) < 64


def test_training_gives_the_losses_of_transformers(tmp_path: Path) -> None:
    from benchmarks.systems import transformers_training

    write_random(TINY, tmp_path)
    prepared = {
        OURS: exnihilo_training.prepare(TINY.as_dict(), str(tmp_path), compiled=False),
        "transformers": transformers_training.prepare(TINY.as_dict(), str(tmp_path), compiled=False),
    }
    results = {OURS: [exnihilo_training.measure(3)], "transformers": [transformers_training.measure(3)]}
    found = {check.name: check for check in checks(TINY, prepared, results)}
    assert all(check.ok for check in found.values()), found
    later = [results[system][0]["losses"] for system in (OURS, "transformers")]
    assert later[0] == pytest.approx(later[1], rel=1e-3) and later[0][0] != later[0][2]


def prepared_as(**different: Any) -> dict[str, Any]:
    return {"ids": "0a", "parameters": TINY.parameters, "losses": [4.0, 3.9], **different}


@pytest.mark.parametrize(
    ("different", "broken"),
    [
        ({}, set()),
        ({"ids": "0b"}, {"ids"}),
        ({"parameters": TINY.parameters + 1}, {"parameters"}),
        ({"losses": [4.0, 3.92]}, {"losses"}),
        ({"losses": [4.0, 3.9001]}, set()),
        ({"losses": [4.0, float("nan")]}, {"losses"}),
    ],
)
def test_other_work_is_seen(different: dict[str, Any], broken: set[str]) -> None:
    found = checks(TINY, {OURS: prepared_as(), "peer": prepared_as(**different)}, {OURS: [], "peer": []})
    assert {check.name for check in found if not check.ok} == broken


def test_ours_is_compared_compiled_with_all_and_eager_with_the_eager_ones() -> None:
    compiled = {OURS: [30.0], "transformers compiled": [25.0], "litgpt compiled": [20.0]}
    eager = {"exnihilo eager": [24.0], "transformers": [16.0], "litgpt": [20.0]}
    first, second = cases("5.8M", compiled | eager)
    assert {peer: first.met(peer) for peer in first.peers} == {
        "transformers compiled": True,
        "litgpt compiled": True,
        "exnihilo eager": None,
        "transformers": True,
        "litgpt": True,
    }
    assert first.ratio("exnihilo eager") == 1.25
    assert (second.name, second.ratio("transformers"), second.met("litgpt")) == ("5.8M eager", 1.5, False)
    (quick,) = cases("5.8M", compiled | {peer: eager[peer] for peer in ("transformers", "litgpt")})
    assert quick.name == "5.8M" and quick.ratio("transformers") == 30 / 16
    (alone,) = cases("5.8M", eager)
    assert alone.name == "5.8M eager" and "nothing was compiled" in alone.notes[0]


@pytest.mark.parametrize(
    "workload",
    [
        Workload(3, 5, 8, 8, vocabulary=64),
        Workload(4, 5, 2, 11, vocabulary=64),
        Workload(4, 6, 7, 7, vocabulary=64, one_prompt=True, greedy=False),
    ],
    ids=["equal", "mixed", "samples"],
)
def test_generation_gives_as_many_tokens_as_transformers_and_greedy_the_same(
    workload: Workload, tmp_path: Path
) -> None:
    from benchmarks.systems import transformers_generation

    write_random(TINY, tmp_path)
    assert exnihilo_generation.prepare(str(tmp_path)) == TINY.parameters
    assert transformers_generation.prepare(str(tmp_path), "static") == TINY.parameters
    ours = exnihilo_generation.measure(workload.as_dict(), 0)["ids"]
    theirs = transformers_generation.measure(workload.as_dict(), 0)["ids"]
    assert [len(ids) for ids in ours] == [len(ids) for ids in theirs] == workload.lengths(0)
    if workload.greedy:
        check = same_texts("transformers", workload.prompts(0), ours, theirs, exnihilo_generation.margin)
        assert check.ok, check
        assert len({tuple(ids) for ids in ours}) == workload.requests, "the model repeats itself"


def test_texts_that_part_at_more_than_a_tie_are_not_the_same() -> None:
    prompts = [[1], [2], [3]]
    own, others = [[5, 6], [5, 6], [5, 6]], [[5, 6], [5, 7], [4, 6]]
    seen = []

    def margin(prefix: list[int], first: int, second: int) -> float:
        seen.append((prefix, first, second))
        return 5e-5 if prefix == [2, 5] else 0.3

    check = same_texts("peer", prompts, own, others, margin)
    assert seen == [([2, 5], 6, 7), ([3], 5, 4)]
    assert not check.ok and check.detail == "1 of 3 equal, 1 part at a tie, 1 at logits up to 3.0e-01 apart"
    assert same_texts("peer", prompts[:2], own[:2], others[:2], margin).ok
    assert not same_texts("peer", [[1]], [[5, 6]], [[5]], margin).ok, "a shorter text is no tie"


def test_first_difference() -> None:
    assert [first_difference([1, 2], other) for other in ([1, 2], [1, 3], [1], [1, 2, 3])] == [None, 1, 1, 2]


def test_a_workload_draws_new_prompts_each_turn_and_keeps_its_number_of_tokens() -> None:
    workload = Workload(32, 10, 16, 256, vocabulary=64)
    assert workload.prompts(0) == workload.prompts(0) != workload.prompts(1)
    assert sorted(workload.lengths(0)) == sorted(workload.lengths(1)) and workload.lengths(
        0
    ) != workload.lengths(1)
    assert (min(workload.lengths(0)), max(workload.lengths(0)), sum(workload.lengths(0))) == (
        16,
        256,
        32 * 136,
    )
    assert len(set(map(tuple, Workload(8, 10, 4, 4, 64, one_prompt=True).prompts(0)))) == 1
    assert min(min(prompt) for prompt in workload.prompts(0)) >= 8
