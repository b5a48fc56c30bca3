"""The report cards of a run's reward models, for the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from exnihilo.align.card import cards_of
from exnihilo.report import words
from exnihilo.report.run import RunFiles, read_json

FILE = "card.json"
GROUPS = {
    "by_source": "source",
    "by_margin": "margin",
    "by_certainty": "how sure the judges were",
    "by_length": "length",
}


@dataclass(frozen=True)
class CardRow:
    """One line of a card: whose accuracy, on how many pairs, and by how much the model is ahead of a baseline."""

    name: str
    accuracy: str
    span: str
    pairs: str
    ahead: str = ""


@dataclass
class RewardCard:
    """A reward model's card. `groups` are by what the pairs differ in."""

    stage: str
    passed: bool
    verdict: str
    rows: list[CardRow] = field(default_factory=list)
    groups: list[tuple[str, list[CardRow]]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)


def reward_cards(run: RunFiles) -> list[RewardCard]:
    """The cards of all reward models that the run made, in order."""
    return [
        _card(f"{stage.name}, {aspect}" if aspect else stage.name, card)
        for stage in run.stages
        if (stage.path / FILE).is_file()
        for aspect, card in cards_of(read_json(stage.path / FILE)).items()
    ]


def _card(stage: str, card: Mapping[str, Any]) -> RewardCard:
    found = RewardCard(stage, bool(card["passed"]), str(card["verdict"]))
    if "accuracy" not in card:
        return found
    found.rows = [_row("the reward model", card["accuracy"]), *_baselines(card)]
    found.groups = [
        (label, [_row(name, entry) for name, entry in card[key].items()])
        for key, label in GROUPS.items()
        if len(card.get(key) or {}) > 1
    ]
    found.facts = [
        ("Calibration error", f"{card['calibration_error']:.3f}"),
        ("Correlation of score and length", words.signed(f"{card['length_correlation']:+.2f}")),
        ("Ties of the judges, left out", f"{card['ties']:,}"),
    ]
    return found


def _baselines(card: Mapping[str, Any]) -> Iterator[CardRow]:
    for name, entry in card["baselines"].items():
        difference = entry["difference"]
        points = words.signed(f"{100 * difference['value']:+.1f}")
        bounds = words.signed(f"{100 * difference['low']:.1f} to {100 * difference['high']:.1f}")
        yield _row(f"baseline: {name}", entry["accuracy"], f"{points} points ({bounds})")


def _row(name: str, entry: Mapping[str, Any], ahead: str = "") -> CardRow:
    span = words.span("accuracy", entry["low"], entry["high"])
    return CardRow(name, words.value("accuracy", entry["value"]), span, f"{entry['n']:,}", ahead)
