"""Training: tokens per second against `transformers` and `litgpt`, eager and compiled, AdamW and float32 everywhere.

Every system starts from the same weights, gets the same random ids, and its losses must be the same. Ours is compiled,
as it is by default in runs of more than a minute; without, it is compared to the others' eager mode once more.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness import OURS, Case, Check, Outcome
from benchmarks.processes import System, paired_rounds, running, together
from benchmarks.systems.shapes import LARGE, MEDIUM, SMALL, Shape
from exnihilo.model.compiled import can_compile

EAGER = "exnihilo eager"
MODULE = "benchmarks.systems.{}_training"
EAGERLY, COMPILED = {"compiled": False}, {"compiled": True}
EAGER_SYSTEMS = (
    System(EAGER, MODULE.format("exnihilo"), None, EAGERLY),
    System("transformers", MODULE.format("transformers"), "transformers", EAGERLY),
    System("litgpt", MODULE.format("litgpt"), "litgpt", EAGERLY),
)
SYSTEMS = (
    System(OURS, MODULE.format("exnihilo"), None, COMPILED),
    System("transformers compiled", MODULE.format("transformers"), "transformers", COMPILED),
    System("litgpt compiled", MODULE.format("litgpt"), "litgpt", COMPILED),
    *EAGER_SYSTEMS,
)
EAGER_GOALS = {"transformers": 1.3, "litgpt": 1.3}
GOALS = EAGER_GOALS | {"transformers compiled": 1.05, "litgpt compiled": 1.05}
"""Against each of the compiled ones is against the faster of them."""
QUICK = 40.0
"""Seconds after which a quick run begins no further round."""
PEAK, PEAK_SHARE = "matrix-multiply peak", 0.65
TOLERANCE = 1e-4
"""Of the losses of the first two steps, relative. They were 2e-7 apart."""


def run(quick: bool) -> Outcome:
    """Three shapes; with `quick` the smallest, without our eager mode."""
    if quick:
        systems = (
            tuple(system for system in SYSTEMS if system.name != EAGER) if can_compile() else EAGER_SYSTEMS
        )
        return Outcome(_measure("5.8M", SMALL, systems, steps=1, rounds=12, until=time.monotonic() + QUICK))
    systems = SYSTEMS if can_compile() else EAGER_SYSTEMS
    return Outcome(
        [
            *_measure("5.8M", SMALL, systems, steps=3, rounds=12),
            *_measure("30M", MEDIUM, systems, steps=1, rounds=12),
            *_measure("125M", LARGE, systems, steps=1, rounds=10, with_peak=True),
        ]
    )


def _measure(
    name: str,
    shape: Shape,
    systems: Sequence[System],
    *,
    steps: int,
    rounds: int,
    until: float = math.inf,
    with_peak: bool = False,
) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder, running(systems) as workers:
        ours = workers[0]
        ours.call("write", shape=shape.as_dict(), folder=folder)
        prepared = together(workers, "prepare", shape=shape.as_dict(), folder=folder)
        results = paired_rounds(workers, "measure", rounds, seconds=until - time.monotonic(), steps=steps)
        # By the same process with the same threads; products of the size that takes as long as this model's do.
        peaks = [ours.call("peak", seconds=1.0) for _ in range(5)] if with_peak else []
    tokens = steps * shape.rows * shape.length
    speeds = {system: [tokens / one["seconds"] for one in found] for system, found in results.items()}
    found = cases(name, speeds)
    found[0].checks = checks(shape, prepared, results)
    if peaks:
        model = [prepared[ours.name]["flops"] / tokens * speed for speed in speeds[ours.name]]
        found.append(Case(f"{name} share of peak", "FLOP/s", {OURS: model, PEAK: peaks}, {PEAK: PEAK_SHARE}))
    return found


def cases(name: str, speeds: Mapping[str, list[float]]) -> list[Case]:
    """As a run gets it by default against all; then, where ours was measured so, everybody eager."""
    found = [Case(name, "tokens/s", dict(speeds), GOALS)] if OURS in speeds else []
    if EAGER in speeds:
        eager = {OURS if system == EAGER else system: speeds[system] for system in (EAGER, *EAGER_GOALS)}
        found.append(Case(f"{name} eager", "tokens/s", eager, EAGER_GOALS))
    if OURS not in speeds:
        found[0].notes.append("there is no C++ compiler with OpenMP here, so nothing was compiled")
    return found


def checks(shape: Shape, prepared: Mapping[str, Any], results: Mapping[str, list[Any]]) -> list[Check]:
    """Same ids, same number of parameters, same losses: those of the warm-up, which begins at the same weights."""
    ids = {system: [prepared[system]["ids"], *(one["ids"] for one in results[system])] for system in prepared}
    parameters = {system: prepared[system]["parameters"] for system in prepared}
    losses = [prepared[system]["losses"] for system in prepared]
    pairs = [(a, b) for found in losses for a, b in zip(found, losses[0], strict=True)]
    apart = max(abs(a - b) / abs(b) for a, b in pairs)
    same = all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in pairs)  # NaN is close to nothing
    return [
        Check("ids", len(set(map(tuple, ids.values()))) == 1, f"{len(next(iter(ids.values())))} times"),
        Check(
            "parameters",
            set(parameters.values()) == {shape.parameters},
            ", ".join(f"{system} {number:,}" for system, number in parameters.items()),
        ),
        Check("losses", same, f"the first {len(losses[0])} at most {apart:.1e} apart"),
    ]
