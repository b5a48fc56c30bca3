"""A/A on the shipped recipe `smoke`: two arms that are the same recipe with other seeds do not differ.

Six runs, about 70 s on two idle cores: `pytest -m slow tests/lab/test_same_recipe.py`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tiny_comparison import question

from exnihilo.lab import metrics
from exnihilo.lab.differences import paired
from exnihilo.lab.question import Question
from exnihilo.lab.runs import Runs

MODELS = ["base", "sft", "longer", "aligned"]
HEADLINES = [
    *("base.bits_per_byte", "base.validation_loss", "sft.bits_per_byte", "sft.accuracy"),
    *("longer.accuracy", "aligned.bits_per_byte", "aligned.accuracy"),
]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> list[metrics.Values]:
    """What six seeds of one recipe measure."""
    (arm, _) = question("smoke", "base.clip=1,null").arms
    asked = Question("smoke", {}, [arm], [1, 2, 3, 4, 5, 6], "flops", [])
    finished = Runs(asked, tmp_path_factory.mktemp("same")).make_all()

    def of(seed: int) -> metrics.Values:
        place: dict[str, Path] = {stage: finished.place(arm, seed, stage) for stage in (*MODELS, "scores")}
        found = metrics.score_values(place["scores"], MODELS)
        for model in MODELS:
            found |= metrics.training_values(model, place[model])
        return found

    return [of(seed) for seed in asked.seeds]


@pytest.mark.slow
@pytest.mark.parametrize("metric", HEADLINES)
def test_perf_5_seeds_of_one_recipe_are_no_difference(metric: str, values: list[metrics.Values]) -> None:
    measured = [one[metric] for one in values]
    assert len({*measured}) > 1, "the seeds are not what they seem"
    found = paired(measured[:3], measured[3:])
    assert found.low is not None and found.high is not None and found.low <= 0 <= found.high


@pytest.mark.slow
def test_eval_14_however_the_seeds_are_dealt_intervals_cover_zero(values: list[metrics.Values]) -> None:
    """720 ways to deal six seeds to two arms and pair them, over all headline metrics: about 5 % exclude zero."""
    covered = total = 0
    for metric, order in itertools.product(HEADLINES, itertools.permutations(range(6))):
        dealt = [values[i][metric] for i in order]
        found = paired(dealt[:3], dealt[3:])
        total += 1
        covered += found.low is None or found.high is None or found.low <= 0 <= found.high
    assert covered / total > 0.9
