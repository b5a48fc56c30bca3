"""Ratios, goals, the table and the last line."""

from __future__ import annotations

import json

import pytest

from benchmarks.harness import OURS, Case, Check, Outcome, last_line, table


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians() -> None:
    # Round 2 met a busy machine, round 3 a busy moment of the peer: medians alone would say 9 / 1.
    case = Case("small", "tokens/s", {OURS: [10.0, 1.0, 9.0], "peer": [5.0, 0.5, 1.0]})
    assert case.ratio("peer") == 2.0


def test_what_slows_both_cancels_out() -> None:
    calm = Case("small", "tokens/s", {OURS: [8.0, 8.0, 8.0], "peer": [4.0, 4.0, 4.0]})
    shaken = Case("small", "tokens/s", {OURS: [8.0, 1.0, 3.0], "peer": [4.0, 0.5, 1.5]})
    assert calm.ratio("peer") == shaken.ratio("peer") == 2.0


def test_above_one_is_better_for_us_in_seconds_too() -> None:
    case = Case("small", "seconds", {OURS: [2.0, 4.0], "peer": [6.0, 12.0]}, higher_is_better=False)
    assert case.ratio("peer") == 3.0


def test_unequal_numbers_of_rounds_are_not_paired() -> None:
    case = Case(
        "to the target", "seconds", {OURS: [150.0, 160.0, 200.0], "peer": [600.0]}, higher_is_better=False
    )
    assert case.ratio("peer") == 600 / 160


def test_a_goal_is_met_from_its_value_on() -> None:
    case = Case(
        "small", "tokens/s", {OURS: [13.0], "a": [10.0], "b": [10.1], "c": [1.0]}, {"a": 1.3, "b": 1.3}
    )
    assert (case.met("a"), case.met("b"), case.met("c")) == (True, False, None)


def outcome() -> Outcome:
    fast = Case(
        "5.8M",
        "tokens/s",
        {
            OURS: [9000.0, 9100.0, 8800.0],
            "transformers": [6000.0, 6100.0, 5900.0],
            "litgpt": [8000.0, 8100.0, 7900.0],
        },
        {"transformers": 1.3, "litgpt": 1.3},
        checks=[Check("losses", True, "at most 1e-6 apart"), Check("ids", False)],
        notes=["eager"],
    )
    return Outcome(
        [fast, Case("help", "seconds", {OURS: [0.31], "limit": [0.5]}, {"limit": 1.0}, False)], ["one note"]
    )


def test_the_table_shows_medians_spread_ratios_goals_checks_and_notes() -> None:
    lines = table(outcome()).splitlines()
    assert lines[1].split() == ["exnihilo", "9,000", "8,800", "to", "9,100,", "n", "=", "3"]
    assert lines[2].split()[-3:] == ["1.49", "1.30", "met"]
    assert lines[3].split()[-3:] == ["1.12", "1.30", "missed"]
    assert lines[4:7] == ["  same: losses (at most 1e-6 apart)", "  NOT THE SAME: ids", "  note: eager"]
    assert lines[-1] == "Note: one note"
    # Columns of a case stand below each other.
    assert len({line.index("n = 3") for line in lines[1:4]}) == 1


def test_the_last_line_is_one_line_of_json_with_the_contract_s_keys() -> None:
    line = last_line("training", outcome(), machine={"cores": 2}, commit="abc", quick=True)
    assert "\n" not in line
    found = json.loads(line)
    assert found["benchmark"] == "training"
    assert found["ratios"] == {"5.8M": {"transformers": 1.4918, "litgpt": 1.1235}, "help": {"limit": 1.6129}}
    assert found["goals"] == {"5.8M": {"transformers": 1.3, "litgpt": 1.3}, "help": {"limit": 1.0}}
    assert found["checks"] == {"5.8M": {"losses": True, "ids": False}, "help": {}}
    assert found["values"]["5.8M"]["exnihilo"] == [9000.0, 9100.0, 8800.0]
    assert (found["machine"], found["commit"], found["quick"]) == ({"cores": 2}, "abc", True)
    assert found["notes"] == ["one note", "5.8M: eager"]


@pytest.mark.parametrize("held", [True, False])
def test_one_broken_check_says_that_the_work_was_not_the_same(held: bool) -> None:
    checks = [Check("ids", True), Check("losses", held)]
    assert Outcome([Case("a", "seconds", {OURS: [1.0]}, checks=checks)]).same_work is held
