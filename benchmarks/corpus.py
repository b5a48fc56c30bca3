"""Bytes a second and core of Gopher's, C4's and FineWeb's filters, against `datatrove`, on the same English texts.

Once with the same word and sentence splitter in both, and once as each ships. Each rule set is applied to every text.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks.harness import OURS, Case, Check, Outcome
from benchmarks.processes import System, paired_rounds, running, together

SAME, SHIPPED = "datatrove, same splitter", "datatrove, as it ships"
AGREEMENT = 0.999
_CAUSES = 6  # kinds of difference named


def run(quick: bool) -> Outcome:
    """Every document, three rounds; with `quick` every fortieth, one round."""
    documents, rounds = (100, 1) if quick else (None, 3)
    systems = (
        System(OURS, "benchmarks.systems.exnihilo_filters"),
        System(SAME, "benchmarks.systems.datatrove_filters", "datatrove", {"same_splitter": True}),
        System(SHIPPED, "benchmarks.systems.datatrove_filters", "datatrove", {"same_splitter": False}),
    )
    with running(systems) as workers:
        prepared = together(workers, "prepare", documents=documents)
        results = paired_rounds(workers, "measure", rounds)
    size = prepared[OURS]["bytes"] / 1e6
    speeds = {system: [size / one["seconds"] for one in found] for system, found in results.items()}
    checks, notes = _compared(results)
    goals = {SAME: 4.0, SHIPPED: 8.0}
    case = Case("filters of Gopher, C4 and FineWeb", "MB/s a core", speeds, goals, checks=checks, notes=notes)
    return Outcome([case])


def _compared(results: dict[str, list[Any]]) -> tuple[list[Check], list[str]]:
    ours, theirs = results[OURS][0]["reasons"], results[SAME][0]["reasons"]
    checks, causes = [], Counter[str]()
    for rule, reasons in ours.items():
        pairs = list(zip(reasons, theirs[rule], strict=True))
        apart = [(a, b) for a, b in pairs if (a is None) != (b is None)]
        equal = 1 - len(apart) / len(pairs)
        checks.append(Check(f"decisions, {rule}", equal >= AGREEMENT, f"{equal:.2%} of {len(pairs):,}"))
        causes.update(f"{rule}: ours {a or 'keeps'}, datatrove {b or 'keeps'}" for a, b in apart)
    notes = [f"{count} differ in {cause}" for cause, count in causes.most_common(_CAUSES)]
    return checks, notes or ["all decisions are equal"]
