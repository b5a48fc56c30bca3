"""Intervals over families and of paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from exnihilo.core.statistics import bootstrap, wilson
from exnihilo.evaluate.macro import macro_bootstrap, macro_share
from exnihilo.evaluate.paired import default_pairs, paired_differences
from exnihilo.evaluate.results import compare_items, compare_text, share


def test_eval_14_macro_intervals_cover_93_to_97_percent() -> None:
    """Three families of other sizes and difficulties, drawn 2,000 times: how often is their mean covered?"""
    truth = {"a": 0.2, "b": 0.55, "c": 0.8}
    sizes = {"a": 60, "b": 90, "c": 150}
    mean = sum(truth.values()) / 3
    generator = np.random.default_rng(5)
    covered = {"share": 0, "bootstrap": 0}
    for trial in range(2000):
        drawn = {name: (generator.random(sizes[name]) < truth[name]).astype(float) for name in truth}
        share, resampled = macro_share(drawn), macro_bootstrap(drawn, seed=trial, draws=500)
        assert share.value == pytest.approx(resampled.value) and share.n == resampled.n == 300
        covered["share"] += share.low <= mean <= share.high
        covered["bootstrap"] += resampled.low <= mean <= resampled.high
    assert all(0.93 <= count / 2000 <= 0.97 for count in covered.values()), covered


def test_eval_14_families_without_a_success_still_have_an_interval() -> None:
    """Successes of 1 in 100: four families without any say "0 to 0" when resampled, which is never right."""
    generator = np.random.default_rng(7)
    covered = {"share": 0, "bootstrap": 0}
    for trial in range(1000):
        drawn = {name: (generator.random(40) < 0.01).astype(float) for name in "abcd"}
        share, resampled = macro_share(drawn), macro_bootstrap(drawn, seed=trial, draws=200)
        covered["share"] += share.low <= 0.01 <= share.high
        covered["bootstrap"] += resampled.low <= 0.01 <= resampled.high
    assert covered["share"] / 1000 > 0.9 and covered["bootstrap"] / 1000 < 0.85, covered
    none, every = macro_share({"a": [0.0] * 12, "b": [0.0] * 12}), macro_share({"a": [1.0] * 12})
    assert none.value == none.low == 0 and 0.1 < none.high < 0.25
    assert every.value == every.high == 1 and every.low == wilson(12, 12).low


def test_eval_14_paired_intervals_cover_93_to_97_percent_and_are_narrower() -> None:
    """Two models right on mostly the same items: the paired interval covers, and is the tighter one."""
    generator = np.random.default_rng(6)
    covered, paired_width, unpaired_width = 0, 0.0, 0.0
    for trial in range(1000):
        ease = generator.random(200)
        better, worse = (ease < 0.6).astype(float), (ease < 0.5).astype(float)
        swapped = generator.random(200) < 0.1
        worse[swapped] = 1 - worse[swapped]
        truth = 0.6 - (0.9 * 0.5 + 0.1 * 0.5)
        interval = macro_bootstrap({"all": better - worse}, seed=trial, draws=500)
        covered += interval.low <= truth <= interval.high
        paired_width += interval.high - interval.low
        if trial < 20:
            one, other = bootstrap(better, seed=trial, draws=500), bootstrap(worse, seed=trial, draws=500)
            unpaired_width += np.hypot(one.high - one.low, other.high - other.low)
    assert 0.93 <= covered / 1000 <= 0.97
    assert paired_width / 1000 < 0.75 * unpaired_width / 20


def test_eval_14_half_of_164_is_known_to_7_7_points() -> None:
    entry = share([1.0] * 82 + [0.0] * 82)
    assert entry["value"] == 0.5 and entry["n"] == 164
    # Wilson's interval is 1.1 % narrower than the normal one of 7.65 points here.
    assert (entry["high"] - entry["low"]) / 2 == pytest.approx(0.077, abs=0.0015)


def test_one_family_is_the_plain_bootstrap() -> None:
    values = [1.0] * 30 + [0.0] * 20
    ours, plain = macro_bootstrap({"only": values}, seed=3), bootstrap(values, seed=4)
    assert ours.value == plain.value == 0.6 and ours.n == 50
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=0.021)


def test_a_family_counts_the_same_whatever_its_size() -> None:
    small = macro_bootstrap({"a": [1.0] * 10, "b": [0.0] * 10}, seed=0)
    large = macro_bootstrap({"a": [1.0] * 10, "b": [0.0] * 1000}, seed=0)
    assert small.value == large.value == 0.5


def test_the_order_of_families_and_items_changes_nothing() -> None:
    families = {"b": [1.0, 0.0, 1.0], "a": [0.0, 0.0, 1.0, 1.0, 1.0]}
    other = {name: families[name][::-1] for name in ("a", "b")}
    assert macro_bootstrap(families, seed=9) == macro_bootstrap(other, seed=9)


def test_nothing_to_average_is_an_error() -> None:
    for families in ({}, {"a": []}):
        with pytest.raises(ValueError, match="at least one item"):
            macro_bootstrap(families, seed=0)
        with pytest.raises(ValueError, match="at least one item"):
            macro_share(families)


def records(*correct: bool | None) -> list[dict[str, object]]:
    return [{"id": f"i{n}", "family": "ab"[n % 2], "correct": one} for n, one in enumerate(correct)]


def test_differences_are_taken_item_by_item() -> None:
    found = paired_differences(records(True, True, False, None), records(False, True, True, True)[::-1])
    assert found == {"a": [1.0, -1.0], "b": [0.0]}


def test_comparisons_change_sign_with_the_order_of_the_models() -> None:
    items = {"old": records(*[False] * 8 + [True] * 12), "new": records(*[True] * 16 + [False] * 4)}
    forth = {entry["what"]: entry for entry in compare_items("new", "old", items, ["a"], seed=1)}
    back = {entry["what"]: entry for entry in compare_items("old", "new", items, ["a"], seed=1)}
    wins, losses = forth.pop("win_rate"), back.pop("win_rate")
    # Eight of twenty won, four lost, eight answered alike.
    assert wins["value"] == pytest.approx(0.6) == pytest.approx(1 - losses["value"])
    assert wins["low"] < 0.6 < wins["high"] and wins["n"] == 20
    assert set(forth) == {"accuracy", "accuracy/trained", "accuracy/a", "accuracy/b"}
    assert forth["accuracy"]["value"] == pytest.approx(0.2) and forth["accuracy"]["n"] == 20
    for what, entry in forth.items():
        assert entry["value"] == pytest.approx(-back[what]["value"])
        assert entry["low"] <= entry["value"] <= entry["high"]
    *same, even = compare_items("new", "new", items, [], seed=1)
    assert (even["what"], even["value"], even["low"], even["high"]) == ("win_rate", 0.5, 0.5, 0.5)
    assert {(entry["value"], entry["low"], entry["high"]) for entry in same} == {(0.0, 0.0, 0.0)}


def test_text_is_compared_document_by_document() -> None:
    """0.1 bits per byte more on every document: no doubt is left, however much documents differ."""
    sizes = [100, 5000, 40, 900]
    old = [
        {"bits": size * level, "bytes": size} for size, level in zip(sizes, (1.0, 2.0, 3.0, 1.5), strict=True)
    ]
    new = [{"bits": one["bits"] + 0.1 * one["bytes"], "bytes": one["bytes"]} for one in old]
    (entry,) = compare_text("new", "old", {"old": old, "new": new}, seed=1)
    assert (entry["a"], entry["b"], entry["what"], entry["n"]) == ("new", "old", "bits_per_byte", 4)
    assert [entry[key] for key in ("value", "low", "high")] == pytest.approx([0.1] * 3)


def test_default_pairs_are_neighbours_then_the_last_with_all() -> None:
    assert default_pairs(["base", "sft", "aligned"]) == [
        ("sft", "base"),
        ("aligned", "sft"),
        ("aligned", "base"),
    ]
    assert default_pairs(["base", "sft"]) == [("sft", "base")]
    assert default_pairs(["base"]) == []
