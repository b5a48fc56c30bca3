"""Majority votes and pass@k: closed forms, and what they must not reward."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from exnihilo.evaluate.results import vote_scores
from exnihilo.evaluate.votes import majority_at, pass_at, sizes


def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer() -> None:
    correct = [True, True, False, False, False, False, True]
    for k in range(1, 8):
        subsets = list(itertools.combinations(correct, k))
        assert pass_at(k, 7, 3) == pytest.approx(sum(map(any, subsets)) / len(subsets))
    assert pass_at(1, 10, 0) == 0.0 and pass_at(10, 10, 1) == 1.0
    with pytest.raises(ValueError, match="at least 8"):
        pass_at(8, 7, 3)


def exactly(k: int, got: list[str], right: str) -> float:
    """The mean over all subsets, ties shared."""
    found = []
    for subset in itertools.combinations(got, k):
        counts = {answer: subset.count(answer) for answer in subset if answer}
        best = [answer for answer, count in counts.items() if count == max(counts.values())]
        found.append(sum(answer == right for answer in best) / len(best) if best else 0.0)
    return sum(found) / len(found)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
def test_a_majority_is_that_of_all_subsets(k: int) -> None:
    got = ["7", "7", "7", "8", "8", "9", "", "7", "8"]
    value = majority_at(k, got, [answer == "7" for answer in got], seed=1)
    assert value == pytest.approx(exactly(k, got, "7"), abs=1e-9 if k in (1, 9) else 0.08)


def test_votes_help_where_the_right_answer_is_the_mode_and_hurt_where_it_is_not() -> None:
    rng = random.Random(0)
    for chance, better in ((0.6, True), (0.25, False)):
        values = []
        for k in (1, 4, 16, 64):
            drawn = []
            for item in range(40):
                got = ["right" if rng.random() < chance else "wrong" for _ in range(64)]
                drawn.append(majority_at(k, got, [answer == "right" for answer in got], seed=item))
            values.append(sum(drawn) / len(drawn))
        assert (values == sorted(values)) is better
        assert values[-1] > 0.9 if better else values[-1] < 0.1


def test_binomial_theory_agrees() -> None:
    """Three of one right answer with chance p: p³ + 3p²(1 - p)."""
    rng, chance = random.Random(1), 0.7
    got = ["a" if rng.random() < chance else "b" for _ in range(5000)]
    share = got.count("a") / len(got)
    values = [majority_at(3, got, [answer == "a" for answer in got], seed=n) for n in range(5)]
    assert sum(values) / 5 == pytest.approx(share**3 + 3 * share**2 * (1 - share), abs=0.03)


def test_replies_that_say_nothing_have_no_vote() -> None:
    assert majority_at(4, ["", "", "", ""], [False] * 4, seed=0) == 0.0
    assert majority_at(4, ["", "", "", "7"], [False, False, False, True], seed=0) == 1.0


def test_the_sizes_that_are_told() -> None:
    assert [sizes(n) for n in (1, 4, 16, 64, 20)] == [[1], [1, 4], [1, 4, 16], [1, 4, 16, 64], [1, 4, 16, 20]]
    assert math.isclose(pass_at(4, 4, 1), 1.0)


def test_votes_are_told_over_families_by_family_and_for_those_that_were_trained() -> None:
    """Easy items gain from a vote, and hard ones, whose wrong answer is given most often, lose by it."""
    rng, records = random.Random(2), []
    for family, chance in (("easy", 0.8), ("fair", 0.6), ("hard", 0.2)):
        for n in range(30):
            correct = [rng.random() < chance for _ in range(16)]
            got = ["right" if right else "wrong" for right in correct]
            records.append({"id": f"{family}-{n}", "family": family, "got": got, "correct": correct})
    overall, parts = vote_scores(records, ["easy", "fair"], seed=1)
    assert list(parts) == ["easy", "fair", "hard", "trained"]
    for scores in (overall, *parts.values()):
        assert {f"{kind}@{k}" for kind in ("majority", "pass") for k in (1, 4, 16)} == set(scores)
        for entry in scores.values():
            assert entry["low"] <= entry["value"] <= entry["high"]
        assert scores["majority@1"]["value"] == pytest.approx(scores["pass@1"]["value"])
    assert overall["majority@16"]["n"] == 90 and parts["trained"]["majority@16"]["n"] == 60
    for group, better in (("easy", True), ("trained", True), ("hard", False)):
        assert (parts[group]["majority@16"]["value"] > parts[group]["majority@1"]["value"]) is better
    for name, entry in overall.items():
        mean = sum(parts[family][name]["value"] for family in ("easy", "fair", "hard")) / 3
        assert entry["value"] == pytest.approx(mean)
