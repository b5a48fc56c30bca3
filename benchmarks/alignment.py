"""Alignment: tokens per second of whole steps against `trl`'s SFT, reward, DPO and GRPO trainers, and memory.

Both begin with the same 30M parameters and learn from the same conversations, pairs and questions of real data, read by
one tokenizer, with AdamW in float32. Of ours the stages run as a recipe runs them, of `trl` its trainers. The ids that
are learned from and the losses of the first steps must be the same; what GRPO learns from is sampled, so of that the
questions must be the same, and the answers about as long.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.environment import cache_folder
from benchmarks.harness import OURS, Case, Check, Outcome, table
from benchmarks.processes import System, paired_rounds, running
from benchmarks.systems.rollout import Rollout
from benchmarks.systems.shapes import MEDIUM, SMALL, Shape

PEER = "trl"
MODULE = "benchmarks.systems.{}_alignment"
GOALS = {"sft": 1.5, "reward": 1.1, "dpo": 1.1, "grpo": 2.0}
PLAN = {"sft": (8, 4), "reward": (4, 4), "dpo": (4, 4), "grpo": (8, 3)}
"""Parts of a step, and rounds. A part is a row of ours, or as many pairs or answers. `trl`'s SFT is faster and smaller
so than with a step at once, whose rows it makes one sequence; pairs are padded less; 128 answers would not fit."""
QUICK = 35.0
"""Seconds after which a quick run begins no further round."""
TOLERANCE = 1e-3
"""Of the losses of the first steps, relative; see `benchmarks.training`."""
COMPARED = 3
LENGTH_TOLERANCE = 0.15
"""By how much the mean lengths of sampled answers may differ, relative."""


def run(quick: bool) -> Outcome:
    """All four with 30M parameters; with `quick` SFT with 5.8M."""
    rollout = Rollout()
    until = time.monotonic() + QUICK if quick else math.inf
    shape, plan = (SMALL, {"sft": (16, 6)}) if quick else (MEDIUM, PLAN)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        given = {"shape": shape.as_dict(), "folder": folder, "rollout": rollout.as_dict()}
        with running([System(OURS, MODULE.format("exnihilo"))]) as (writer,):
            cache = str(cache_folder() / "alignment")
            ids = writer.call("write", methods=list(plan), cache=cache, **given)
        for method, (parts, rounds) in plan.items():
            own = {parts, 1} if method == "sft" and not quick else {parts}
            for number in sorted(own, reverse=True):
                found = _cases(method, number, shape, given, ids[method], rounds, until)
                print(table(Outcome(found)), file=sys.stderr, flush=True)
                cases += found
    return Outcome(cases)


def _cases(
    method: str, parts: int, shape: Shape, given: Mapping[str, Any], ids: str, rounds: int, until: float
) -> list[Case]:
    settings = {"method": method, "parts": parts}
    systems = (
        System(OURS, MODULE.format("exnihilo"), settings=settings),
        System(PEER, MODULE.format("trl"), "trl", settings),
    )
    with running(systems) as workers:
        # One after another: both warm up by steps that use all cores, and side by side each took several times as long.
        prepared = {worker.name: worker.call("prepare", **given, **settings) for worker in workers}
        results = paired_rounds(workers, "measure", rounds, seconds=until - time.monotonic(), steps=1)
        losses = {worker.name: worker.call("losses") for worker in workers}
        memory = {worker.name: worker.call("memory") for worker in workers}
    speeds = {system: [one["tokens"] / one["seconds"] for one in found] for system, found in results.items()}
    checks = [Check("ids", ids == prepared[PEER]["ids"], "of the first two steps")]
    checks.append(_same_lengths(results) if method == "grpo" else _same_losses(losses))
    name = f"{method}, {'a step at once' if parts == 1 else f'a step in {parts} parts'}"
    return [
        Case(name, "tokens/s", speeds, {PEER: GOALS[method]}, checks=checks, notes=_notes(method, results)),
        Case(
            f"{name}, memory",
            "MiB",
            {system: [one["peak"]] for system, one in memory.items()},
            {PEER: 1.0},
            higher_is_better=False,
            notes=[_libraries(memory)],
        ),
    ]


def _libraries(memory: Mapping[str, Mapping[str, float]]) -> str:
    held = ", ".join(f"{system} {one['before']:,.0f}" for system, one in memory.items())
    return f"of the whole process; its libraries took, before model and data: {held} MiB"


def _notes(method: str, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    if method != "grpo":
        return []
    rewards = [
        f"{system} {statistics.mean(one['reward'] for one in found):.2f}" for system, found in results.items()
    ]
    flat = statistics.mean(one["flat"] for one in results[OURS])
    return [
        f"tokens are those of answers; mean rewards: {', '.join(rewards)}; {flat:.0%} of the answers are in groups of "
        "equal rewards, which ours leaves out of the update"
    ]


def _same_losses(losses: Mapping[str, Sequence[float]]) -> Check:
    pairs = list(zip(losses[OURS][:COMPARED], losses[PEER][:COMPARED], strict=True))
    apart = max(abs(a - b) / abs(b) for a, b in pairs)
    same = all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in pairs)
    return Check(
        "losses", same and len(pairs) == COMPARED, f"the first {len(pairs)} at most {apart:.1e} apart"
    )


def _same_lengths(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Check:
    sampled = {system: sum(one["tokens"] for one in found) for system, found in results.items()}
    same = math.isclose(sampled[OURS], sampled[PEER], rel_tol=LENGTH_TOLERANCE)
    return Check(
        "lengths", same, ", ".join(f"{system} {number:,} tokens" for system, number in sampled.items())
    )
