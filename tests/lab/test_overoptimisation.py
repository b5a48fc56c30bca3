"""The experiment on over-optimisation: what is planted in its curves is found, and it runs, stops and goes on."""

from __future__ import annotations

import copy
import math
import random
from pathlib import Path

import pytest

from exnihilo.core.artifact import read_manifest
from exnihilo.lab.gold_curve import fit_form
from exnihilo.lab.overoptimisation import Size, measure, overoptimisation
from exnihilo.lab.overoptimisation_page import table
from exnihilo.lab.word_world import WORDS, WordWorld
from exnihilo.report.run import read_json

SMALL = Size(
    steps=40, pairs=32, worse=16, second=32, answers=64, rollouts=6, prompts=8, pilots=(1, 2, 4), window=1
)


@pytest.mark.parametrize(("form", "peak"), [("best_of_n", 0.9 / 0.5), ("rl", math.exp(0.9 / 0.25 - 1))])
def test_a_fit_recovers_what_was_planted(form: str, peak: float) -> None:
    drawn = random.Random(0)
    distances = [0.0, *(i / 4 for i in range(1, 20))]

    def planted(d: float) -> float:
        return d * (0.9 - 0.25 * (d if form == "best_of_n" else math.log(d))) if d else 0.0

    exact = fit_form(form, distances, [planted(d) for d in distances])
    assert (exact.alpha, exact.beta, exact.r2) == pytest.approx((0.9, 0.25, 1.0))
    assert exact.peak == pytest.approx(peak)
    assert exact.at(distances[1:]) == pytest.approx([planted(d) for d in distances[1:]])
    noisy = fit_form(form, distances, [planted(d) + drawn.gauss(0, 0.02) for d in distances])
    assert (noisy.alpha, noisy.beta) == pytest.approx((0.9, 0.25), abs=0.05) and 0.9 < noisy.r2 < 1


def test_a_curve_that_only_rises_turns_nowhere_and_two_points_are_no_curve() -> None:
    assert fit_form("best_of_n", [1, 2, 3], [1, 3, 7]).peak is None
    with pytest.raises(ValueError, match="at least three"):
        fit_form("rl", [0, 1, 2], [0, 1, 2])


def test_gold_counts_a_word_once_and_takes_no_padding() -> None:
    world = WordWorld(3)
    best = sorted(WORDS, key=lambda word: -world.worth[word])
    two = " ".join(best[:2])
    assert world.gold(two) == pytest.approx(world.worth[best[0]] + world.worth[best[1]])
    assert world.gold(f"{two} {best[0]}") == pytest.approx(world.gold(two) - 1)
    assert world.gold(f"{two} nonsense") == pytest.approx(world.gold(two) - 1)
    assert world.gold(" ".join(best[:11])) == pytest.approx(world.gold(" ".join(best[:10])) - 1)
    assert world.gold("") == 0 and WordWorld(4).worth != world.worth


def test_the_experiment_runs_says_what_came_out_and_makes_nothing_twice(tmp_path: Path) -> None:
    result = overoptimisation(tmp_path / "lab", [1], SMALL)
    seed = tmp_path / "lab" / "seed=1"
    before = {path.name: read_manifest(path)["content"] for path in seed.iterdir() if path.is_dir()}
    assert {"policy", "proxy", "second", "answers", "ppo"} <= before.keys()
    assert before["proxy-pairs"] != before["second-pairs"], "the two reward models learn from other answers"
    asked = {used["name"] for used in read_manifest(seed / "second-pairs")["inputs"]}
    assert asked == {"policy", "world", "pilot-1", "pilot-2", "pilot-3"}, (
        "from where maximising the first one leads"
    )
    seeds = {name: read_manifest(seed / name)["seed"] for name in ("pilot-1", "pilot-2", "pilot-3", "ppo")}
    assert len(set(seeds.values())) == 4, "what is watched is not what was tried out"
    one = result["seeds"]["1"]
    assert [point["n"] for point in one["best_of_n"]["points"]] == [1, 2, 4, 8, 16]
    assert one["best_of_n"]["points"][0]["gold"] == pytest.approx(0, abs=1e-9)
    assert len({tuple(p["proxy"] for p in by["best_of_n"]["points"]) for by in (one, one["worse"])}) == 2
    maximised = {
        name: {used["name"] for used in read_manifest(seed / name)["inputs"]} for name in ("ppo", "ppo-worse")
    }
    assert maximised["ppo"] ^ maximised["ppo-worse"] == {"proxy", "worse"}
    assert [point["step"] for point in one["rl"]["points"]] == [0, 2, 4, 6, 8, 10]
    assert read_json(tmp_path / "lab" / "results.json") == result
    straight = copy.deepcopy(result)
    straight["seeds"]["1"]["rl"]["fit"] |= {"alpha": 0.4, "beta": 0.001, "peak": math.exp(399)}
    assert "not up to" in "\n".join(table(straight)).partition("β log d")[2], "what it says beyond is a guess"
    text = "\n".join(table(result))
    assert "d (α − β log d)" in text and "Early stop" in text
    rows = [line.split() for line in text.partition("learned from that is maximised")[2].splitlines()]
    assert [row[:2] for row in rows if row[:1] == ["1"]][:2] == [["1", "32"], ["1", "16"]]
    page = (tmp_path / "lab" / "report.html").read_text()
    assert "Over-optimisation" in page and "http" not in page.replace("http-equiv", "").split("<script")[0]
    times = {path: path.stat().st_mtime_ns for path in seed.rglob("*.safetensors")}
    assert overoptimisation(tmp_path / "lab", [1], SMALL) == result
    assert {path: path.stat().st_mtime_ns for path in seed.rglob("*.safetensors")} == times
    assert (
        measure({name: seed / name for name in ("answers", "ppo", "ppo-worse")}, SMALL.window, SMALL.price)
        == one
    )
