"""What a benchmark returns, the table made of it, and its last line of JSON.

A benchmark is a module `benchmarks/<name>.py` with `run(quick: bool) -> Outcome`. It runs each system in a process
of its own (`benchmarks.processes`), peers in an environment of their own (`benchmarks.environment`).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

OURS = "exnihilo"


@dataclass(frozen=True)
class Check:
    """Whether the systems did the same work in one respect, and what was compared."""

    name: str
    ok: bool
    detail: str = ""


@dataclass
class Case:
    """One workload and what each system made of it.

    Attributes:
        name: of the workload, as in the table and in JSON.
        unit: of the values: "tokens/s", "seconds", "MiB" …
        values: by system, one value a round; ours under `OURS`. A target that is no system (a limit, a measured
            peak) stands among them as a peer with its value.
        goals: by peer, the least ratio that was asked for.
        higher_is_better: False for seconds and bytes.
        checks: that the systems did the same work.
        notes: what a reader must know to judge the figures.
    """

    name: str
    unit: str
    values: dict[str, list[float]]
    goals: dict[str, float] = field(default_factory=dict)
    higher_is_better: bool = True
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def peers(self) -> list[str]:
        return [system for system in self.values if system != OURS]

    def ratio(self, peer: str) -> float:
        """How many times better ours is: the median of the rounds' ratios, which what slows both cancels out of.

        With unequal numbers of values nothing is paired, and it is the ratio of the medians.
        """
        ours, theirs = self.values[OURS], self.values[peer]
        if len(ours) != len(theirs):
            ours, theirs = [statistics.median(ours)], [statistics.median(theirs)]
        ratios = [a / b if self.higher_is_better else b / a for a, b in zip(ours, theirs, strict=True)]
        return statistics.median(ratios)

    def met(self, peer: str) -> bool | None:
        """Whether the goal against `peer` is reached; None where there is no goal."""
        return None if peer not in self.goals else self.ratio(peer) >= self.goals[peer]


@dataclass
class Outcome:
    """Everything a benchmark found. Cases have different names; notes concern all of them."""

    cases: list[Case]
    notes: list[str] = field(default_factory=list)

    @property
    def same_work(self) -> bool:
        """Whether every check of every case holds."""
        return all(check.ok for case in self.cases for check in case.checks)

    def as_dict(self) -> dict[str, Any]:
        """The fields of the last line, without those that tell where and when it ran."""
        return {
            "ratios": {
                case.name: {peer: round(case.ratio(peer), 4) for peer in case.peers} for case in self.cases
            },
            "goals": {case.name: case.goals for case in self.cases},
            "checks": {case.name: {check.name: check.ok for check in case.checks} for case in self.cases},
            "values": {
                case.name: {"unit": case.unit, **{system: _rounded(v) for system, v in case.values.items()}}
                for case in self.cases
            },
            "notes": [*self.notes, *(f"{case.name}: {note}" for case in self.cases for note in case.notes)],
        }


def table(outcome: Outcome) -> str:
    """Medians with their spread, ratios, goals, checks and notes, as plain text."""
    return "\n\n".join([*map(_case_table, outcome.cases), *(f"Note: {note}" for note in outcome.notes)])


def last_line(name: str, outcome: Outcome, **circumstances: Any) -> str:
    """The line of JSON that a benchmark ends with."""
    return json.dumps({"benchmark": name, **outcome.as_dict(), **circumstances}, ensure_ascii=False)


def _case_table(case: Case) -> str:
    rows = [(f"{case.name}, {case.unit}", "median", "lowest to highest", "ratio", "goal", "")]
    for system, values in case.values.items():
        spread = f"{_show(min(values))} to {_show(max(values))}, n = {len(values)}"
        ratio, goal, verdict = "", "", ""
        if system != OURS:
            ratio = f"{case.ratio(system):.2f}"
            if system in case.goals:
                goal, verdict = f"{case.goals[system]:.2f}", "met" if case.met(system) else "missed"
        rows.append((f"  {system}", _show(statistics.median(values)), spread, ratio, goal, verdict))
    lines = _aligned(rows)
    lines += [
        f"  {'same' if check.ok else 'NOT THE SAME'}: {check.name}"
        + (f" ({check.detail})" if check.detail else "")
        for check in case.checks
    ]
    return "\n".join([*lines, *(f"  note: {note}" for note in case.notes)])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _show(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
