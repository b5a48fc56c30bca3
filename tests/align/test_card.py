"""The report card on data whose answers are known: calibration, length, baselines, and what it refuses."""

from __future__ import annotations

import math

import numpy as np

from exnihilo.align.baselines import BagOfWords, Judged, Longer
from exnihilo.align.card import Scored, calibration_error, length_correlation, report_card


def scored(
    gap: float, prompt: int = 0, *, lengths: tuple[int, int] = (5, 5), guess: float = 0.0, **more: object
) -> Scored:
    values = {"source": "a", "margin": 0.0, "certainty": 1.0} | more
    return Scored(
        prompt=prompt,
        better=gap,
        worse=0.0,
        better_length=lengths[0],
        worse_length=lengths[1],
        baselines={"length": guess},
        **values,  # type: ignore[arg-type]
    )


def test_rm_6_calibration_error_of_known_confidence() -> None:
    generator = np.random.default_rng(0)
    p = generator.uniform(0.5, 1.0, 20_000)
    right = generator.uniform(size=p.size) < p
    gaps = np.where(right, 1, -1) * np.log(p / (1 - p))
    assert calibration_error(gaps.tolist()) < 0.015
    assert math.isclose(calibration_error([20.0] * 75 + [-20.0] * 25), 0.25, abs_tol=1e-6)
    assert calibration_error([0.0, 0.0]) == 0.0  # 50 % sure, and half right


def test_rm_6_length_correlation_is_spearmans() -> None:
    lengths = [3, 9, 27, 81]
    pairs = [scored(float(b), lengths=(b, 1)) for b in lengths]
    assert math.isclose(length_correlation(pairs), 1.0)
    # Ranks 1, 2 | 3 and 3, 1 | 2: r = cov / (sd sd) by hand.
    one = Scored(0, "a", 0.5, 1.0, 30, 10, 0.0, 1.0, {})
    assert math.isclose(length_correlation([one, Scored(0, "a", 9.0, -2.0, 20, 5, 0.0, 1.0, {})]), 0.4)
    assert length_correlation([scored(0.0)]) == 0.0


def test_rm_6_shuffled_labels_are_half_right_and_fail() -> None:
    generator = np.random.default_rng(1)
    card = report_card([scored(gap, i) for i, gap in enumerate(generator.normal(size=400).tolist())])
    assert abs(card["accuracy"]["value"] - 0.5) < 0.08
    assert not card["passed"] and card["verdict"].startswith("no better than chance")


def test_a_model_must_beat_every_baseline_on_the_same_pairs() -> None:
    same = [scored(1.0 if i % 5 else -1.0, i, guess=1.0 if i % 5 else -1.0) for i in range(300)]
    card = report_card(same)
    assert not card["passed"] and card["verdict"].startswith("not shown to be better than length")
    better = [scored(1.0 if i % 5 else -1.0, i, guess=1.0 if i % 2 else -1.0) for i in range(300)]
    card = report_card(better)
    assert card["passed"] and "better than length" in card["verdict"]
    assert math.isclose(card["baselines"]["length"]["difference"]["value"], 0.3, abs_tol=1e-9)


def test_pairs_of_one_prompt_are_drawn_together() -> None:
    apart = [scored(1.0 if i % 4 else -1.0, i) for i in range(200)]
    together = [scored(1.0 if (i // 20) % 4 else -1.0, i // 20) for i in range(200)]
    width = [c["accuracy"]["high"] - c["accuracy"]["low"] for c in map(report_card, (apart, together))]
    assert width[1] > 2 * width[0]


def test_ties_of_judges_are_left_out_and_ties_of_scores_are_half_right() -> None:
    card = report_card([scored(0.0, 0), scored(1.0, 1), scored(-1.0, 2, certainty=0.5)])
    assert (card["pairs"], card["ties"]) == (2, 1) and card["accuracy"]["value"] == 0.75
    card = report_card([scored(1.0, certainty=0.5)])
    assert not card["passed"] and card["verdict"] == "no pair has a preferred answer"


def test_groups() -> None:
    card = report_card(
        [
            scored(1.0, 0, lengths=(50, 10), source="x", margin=2.0),
            scored(-1.0, 1, lengths=(10, 50), certainty=0.8),
            scored(1.0, 2, lengths=(10, 11), certainty=0.6),
        ]
    )
    assert {name: group["value"] for name, group in card["by_length"].items()} == {
        "the better is longer": 1.0,
        "the better is shorter": 0.0,
        "of similar length": 1.0,
    }
    assert {name: group["n"] for name, group in card["by_source"].items()} == {"a": 2, "x": 1}
    assert card["by_margin"].keys() == {"0", "2"}
    assert card["by_certainty"].keys() == {"at least 0.9", "0.7 to 0.9", "below 0.7"}


def test_many_margins_are_told_by_quarters() -> None:
    card = report_card([scored(1.0 if i < 30 else -1.0, i, margin=float(i)) for i in range(40)])
    found = {name: (group["n"], group["value"]) for name, group in card["by_margin"].items()}
    assert found == {
        "smallest quarter": (10, 1.0), "second quarter": (10, 1.0), "third quarter": (10, 1.0),
        "largest quarter": (10, 0.0),
    }  # fmt: skip


def test_baselines_know_words_and_lengths_and_no_more() -> None:
    marked = [Judged(f"word{i} thanks", f"word{i} indeed") for i in range(50)]
    words = BagOfWords(marked)
    assert all(words.gap(one) > 0 for one in marked)
    assert words.gap(Judged("unseen thanks", "unseen indeed")) > 0
    assert words.gap(Judged("b a", "a b")) == 0  # order is nothing that it knows
    longer = Longer([Judged("aaa", "a"), Judged("aa", "a"), Judged("a", "aa")])
    assert (
        longer.gap(Judged("aaa", "a")) > 0 > longer.gap(Judged("a", "aaa"))
        and longer.gap(Judged("a", "b")) == 0
    )
    assert Longer([Judged("a", "aaa")]).gap(Judged("a", "aaa")) > 0, "where the shorter was mostly better"
