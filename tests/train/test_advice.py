"""Each rule speaks on a series that deserves it, and none on runs that went well."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.config import key_table
from exnihilo.core.events import EventLog
from exnihilo.core.workspace import Workspace
from exnihilo.recipes.stages import find
from exnihilo.train import advice
from exnihilo.train.advice import RULES
from exnihilo.train.advisor import Advisor
from exnihilo.train.history import Facts, History, Known

RECORDED = Path(__file__).parent / "recorded"
"""Metrics of real runs: the quickstart and `smoke` with one seed, and Tang poems read five times."""
KEYS = {row.key for verb in ("pretrain", "sft", "grpo") for row in key_table(find(verb).config)}
UNIFORM, UNIGRAM = math.log(2048), 6.2
FACTS = {
    "quickstart-base": Facts(1300, 26, 1.0, UNIFORM, True, Known({"tokens": 0.66}, UNIGRAM)),
    "quickstart-sft": Facts(900, 18, 1.0, UNIFORM),
    "quickstart-longer": Facts(420, 9, 1.0, UNIFORM),
    "quickstart-aligned": Facts(40, 2, 1.0, UNIFORM),
    "smoke-base": Facts(24, 1, 1.0, math.log(512), True, Known({"tokens": 0.04}, 5.3)),
    "smoke-sft": Facts(240, 5, 1.0, math.log(512)),
    "smoke-longer": Facts(4, 1, 1.0, math.log(512)),
    "smoke-aligned": Facts(4, 1, 1.0, math.log(512)),
}


def recorded(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text().splitlines()]


def history(records: list[dict[str, Any]]) -> History:
    made = History()
    for record in records:
        made.add(record)
    return made


def training(losses: list[float], **more: Any) -> list[dict[str, Any]]:
    """Lines each ten steps; the average lags behind the loss."""
    records, ema = [], losses[0]
    for i, loss in enumerate(losses):
        ema = 0.8 * ema + 0.2 * loss
        record = {"step": 10 * (i + 1), "loss": loss, "ema": ema, "grad_norm": 0.5}
        record |= {"tokens_per_second": 1000.0, "mfu": 0.4, "time": 3.0 * i}
        records.append(record | {key: value(i) if callable(value) else value for key, value in more.items()})
    return records


def validations(losses: list[float], every: int = 100) -> list[dict[str, Any]]:
    return [{"step": every * (i + 1), "validation_loss": loss} for i, loss in enumerate(losses)]


def rollouts(number: int, **figures: float) -> list[dict[str, Any]]:
    usual = {"reward": 0.5, "flat": 0.4, "ended": 0.95}
    return [{"step": i + 1, **usual, **figures} for i in range(number)]


def turning(key: str) -> list[dict[str, Any]]:
    """The reward that is trained on rises; another rises, and falls."""
    return [
        {**one, "reward": i / 40, key: 1 - abs(i - 16) / 16 + (0.05 if i % 2 else -0.05)}
        for i, one in enumerate(rollouts(40))
    ]


FALLING = [6.0 * 0.97**i + 2 for i in range(60)]
POLICY = [0.0] * 6

UNHEALTHY: dict[str, tuple[list[dict[str, Any]], Facts, str]] = {
    "many_epochs": (training([7.0]), Facts(1300, known=Known({"poems": 5.2, "prose": 1.0})), "poems .*5.2 times"),
    "no_better_than_guessing": (training([7.6] * 12), Facts(1300, 26, uniform=UNIFORM), "7.6 .*120 steps.*7.62"),
    "no_better_than_frequencies": (
        training([6.4] * 30), Facts(1300, 26, uniform=UNIFORM, known=Known(unigram=UNIGRAM)), "6.4 .*6.2",
    ),
    "overfitting": (
        training(FALLING) + validations([4.0, 3.6, 3.5, 3.7, 3.8, 3.9]), Facts(600, 10), "3.5 at step 300 to 3.9",
    ),
    "loss_spikes": (
        training([3.0 if i % 8 else 9.0 for i in range(40)]), Facts(400, 10), "1.6 times its average 4 times",
    ),
    "loss_rises": (training([*FALLING, *([5.0] * 12)]), Facts(800, 10), "rose from 3.* to 4.8"),
    "many_skipped": (training(FALLING, skipped=lambda i: i), Facts(600, 10), "59 of 600 steps"),
    "always_clipped": (training(FALLING, grad_norm=3.0), Facts(600, 10, clip=1.0), "clip = 1 in 20 of .* 6"),
    "low_utilisation": (training(FALLING, mfu=0.03), Facts(600, 10), "3.0%"),
    "slowed_down": (
        training(FALLING, tokens_per_second=lambda i: 1000.0 if i < 50 else 300.0), Facts(600, 10), "300 .*1,000",
    ),
    "no_signal": (rollouts(6, flat=1.0, reward=0.0), Facts(40), "too hard"),
    "answers_do_not_end": (rollouts(6, ended=0.2), Facts(40), "20% of the answers"),
    "kl_explodes": (
        rollouts(4) + training(POLICY, kl=lambda i: 0.4 * i, entropy=0.1), Facts(40), "is 2 nats",
    ),
    "entropy_collapses": (
        rollouts(4) + training(POLICY, entropy=lambda i: 0.5 * 0.5**i, kl=0.1), Facts(40), "from 0.5 to 0.016",
    ),
    "gold_falls": (turning("gold"), Facts(80), "gold reward fell from 0.78 around step .* rose from"),
    "second_falls": (turning("second"), Facts(80), "second reward fell from 0.78 around step .* rose from"),
    "answers_grow": (
        [{**one, "reward": i / 40, "response_length": 20 + i} for i, one in enumerate(rollouts(40))], Facts(40),
        "from 22 to 57 tokens",
    ),
}  # fmt: skip


def test_there_is_an_unhealthy_series_for_every_rule() -> None:
    assert list(UNHEALTHY) == [rule.__name__ for rule in RULES]


@pytest.mark.parametrize("name", UNHEALTHY)
def test_a_rule_says_what_was_seen_and_which_key_to_change(name: str) -> None:
    records, facts, seen = UNHEALTHY[name]
    spoken = {rule.__name__: rule(history(records), facts) for rule in RULES}
    text = spoken.pop(name)
    assert text is not None and re.search(seen, text), text
    assert not any(spoken.values()), spoken
    words = set(re.findall(r"[a-z_]+(?:\.[a-z_]+)?", text))
    assert words & KEYS, f"names no key: {text}"
    assert "\n" not in text and not text.endswith(".")


def test_ppos_divergence_is_counted_by_answer() -> None:
    far = advice.kl_explodes(history(rollouts(5, kl_per_sequence=24.0, response_length=12.0)), Facts(40))
    assert far is not None and "is 2 nats per token" in far
    near = advice.kl_explodes(history(rollouts(5, kl_per_sequence=2.0, response_length=12.0)), Facts(40))
    assert near is None


@pytest.mark.parametrize("rule", [advice.gold_falls, advice.second_falls, advice.answers_grow])
def test_rewards_that_rise_together_or_scatter_are_no_turn(rule: Any) -> None:
    drawn = random.Random(0)
    rising = [
        {**one, "reward": i / 40, "gold": i / 80 + drawn.gauss(0, 0.2), "second": drawn.gauss(0, 0.2),
         "response_length": 20 + i / 4}
        for i, one in enumerate(rollouts(40))
    ]  # fmt: skip
    made = History()
    for record in rising:
        made.add(record)
        assert rule(made, Facts(40)) is None


def test_too_easy_questions_are_told_from_too_hard_ones() -> None:
    easy = advice.no_signal(history(rollouts(6, flat=1.0, reward=1.0)), Facts(40))
    assert easy is not None and "too easy" in easy and "too hard" not in easy


@pytest.mark.parametrize("name", FACTS)
def test_a_healthy_run_hears_nothing_at_any_moment(name: str) -> None:
    made = History()
    for record in recorded(name):
        made.add(record)
        spoken = {rule.__name__: rule(made, FACTS[name]) for rule in RULES}
        assert not any(spoken.values()), (record["step"], spoken)


def test_a_real_run_that_learned_by_heart_is_told_so() -> None:
    facts = Facts(1300, 26, 1.0, UNIFORM, True, Known({"poems": 5.0}, UNIGRAM))
    spoken = {rule.__name__: rule(history(recorded("overfitting-base")), facts) for rule in RULES}
    assert {name for name, text in spoken.items() if text} == {"many_epochs", "overfitting"}
    assert re.search("4.5. at step 1040 to 4.6", str(spoken["overfitting"])), spoken["overfitting"]


@pytest.mark.parametrize("losses", [[3.6, 3.5, 3.7], [3.6, 3.5, 3.52, 3.53], [3.6, 3.5, 3.7, 3.49]])
def test_one_bad_validation_is_no_trend(losses: list[float]) -> None:
    assert advice.overfitting(history(training(FALLING) + validations(losses)), Facts(600)) is None


def test_nothing_is_said_before_enough_was_seen() -> None:
    assert (
        advice.no_better_than_guessing(history(training([7.6] * 7)), Facts(1300, 26, uniform=UNIFORM)) is None
    )
    assert (
        advice.always_clipped(history(training([3.0] * 20, grad_norm=3.0)), Facts(600, 10, clip=1.0)) is None
    )
    steps = [{**one, "step": i + 1} for i, one in enumerate(training(FALLING, grad_norm=3.0))]
    assert (
        advice.always_clipped(history(steps[:49]), Facts(60, clip=1.0)) is None
    )  # a line a step: too short a time
    starved = {"mfu": 0.03, "tokens_per_second": lambda i: 1000.0 if i < 50 else 300.0}
    hiccup = history(training(FALLING, **starved, time=lambda i: 0.1 * i))
    assert (
        advice.low_utilisation(hiccup, Facts(600)) is None and advice.slowed_down(hiccup, Facts(600)) is None
    )
    assert advice.no_signal(history(rollouts(4, flat=1.0, reward=0.0)), Facts(40)) is None
    assert all(rule(History(), Facts(10)) is None for rule in RULES)


def test_a_line_with_a_value_that_was_not_finite_is_passed_over() -> None:
    broken = [{**one, "loss": None} for one in training(FALLING)] + [{"step": 10, "validation_loss": None}]
    broken += [{"step": 20, "reward": None}, {"step": 30, "kind": "other"}]
    made = history(broken)
    assert not (made.training or made.validations or made.rollouts)
    made = history(rollouts(6) + training(POLICY, kl=None, entropy=None))
    assert len(made.training) == 6 and all(rule(made, Facts(40, clip=1.0)) is None for rule in RULES)


def advisor_at(folder: Path, facts: Facts) -> tuple[Workspace, Advisor]:
    work = Workspace(folder / "base.partial", stage="base", log=EventLog(folder))
    return work, Advisor(work, facts)


def test_it_is_said_once_as_an_event_and_kept_with_the_artifact(tmp_path: Path) -> None:
    facts = Facts(400, 10, clip=1.0)
    work, advisor = advisor_at(tmp_path, facts)
    for record in training(FALLING[:40], grad_norm=3.0):
        work.metric(**record)
        advisor.look(record["step"])
    # The first fifth does not count, so twenty lines are seen at step 280.
    kept = [json.loads(line) for line in (work.path / "advice.jsonl").read_text().splitlines()]
    assert [(one["step"], one["rule"]) for one in kept] == [(280, "always_clipped")]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [one["event"] for one in events] == ["advice"] and kept[0]["text"] in events[0]["message"]

    # A resumed run reads what the session before it wrote, and does not say it again.
    _, again = advisor_at(tmp_path, facts)
    again.look(400)
    assert len((work.path / "advice.jsonl").read_text().splitlines()) == 1
    assert len(again.history.training) == 40


def test_what_was_cut_back_is_forgotten_and_may_be_said_again(tmp_path: Path) -> None:
    work, advisor = advisor_at(tmp_path, Facts(400, 10, clip=1.0))
    for record in training(FALLING[:30], grad_norm=3.0):
        work.metric(**record)
    advisor.look(300)
    work.truncate_records(100)
    assert (work.path / "advice.jsonl").read_text() == ""
    advisor.look(100)
    assert len(advisor.history.training) == 10 and not advisor.said
    for record in training(FALLING[:30], grad_norm=3.0)[10:]:
        work.metric(**record)
    advisor.look(300)
    assert advisor.said == {"always_clipped"}
