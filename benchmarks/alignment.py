"""Alignment: tokens per second of whole steps against `trl`'s SFT, reward, DPO and GRPO trainers, and memory.

Both begin with the same 30M parameters and learn from the same conversations, pairs and questions of real data, read by
one tokenizer, with AdamW in float32. Of ours the stages run as a recipe runs them, of `trl` its trainers. The ids that
are learned from and the losses of the first steps must be the same; what GRPO learns from is sampled, so of that the
questions must be the same, and the answers about as long.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.environment import cache_folder
from benchmarks.harness import OURS, Case, Check, Outcome
from benchmarks.processes import System, paired_rounds, running, together
from benchmarks.systems.rollout import Rollout
from benchmarks.systems.shapes import MEDIUM, SMALL, Shape

PEER = "trl"
MODULE = "benchmarks.systems.{}_alignment"
GOALS = {"sft": 1.5, "reward": 1.1, "dpo": 1.1, "grpo": 2.0}
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
    shape, rounds = (SMALL, {"sft": 8}) if quick else (MEDIUM, {"sft": 8, "reward": 8, "dpo": 8, "grpo": 4})
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        given = {"shape": shape.as_dict(), "folder": folder, "rollout": rollout.as_dict()}
        with running([System(OURS, MODULE.format("exnihilo"))]) as (writer,):
            ids = writer.call("write", methods=list(rounds), cache=str(cache_folder() / "alignment"), **given)
        for method, number in rounds.items():
            cases += _cases(method, shape, given, ids[method], number, until)
    return Outcome(cases)


def _cases(
    method: str, shape: Shape, given: Mapping[str, Any], ids: str, rounds: int, until: float
) -> list[Case]:
    systems = (
        System(OURS, MODULE.format("exnihilo"), settings={"method": method}),
        System(PEER, MODULE.format("trl"), "trl", {"method": method}),
    )
    with running(systems) as workers:
        prepared = together(workers, "prepare", **given)
        results = paired_rounds(workers, "measure", rounds, seconds=until - time.monotonic(), steps=1)
        losses = {worker.name: worker.call("losses") for worker in workers}
        memory = {worker.name: [worker.call("memory")] for worker in workers}
    size = f"{shape.parameters / 1e6:.1f}M".replace(".5M", "M")
    speeds = {system: [one["tokens"] / one["seconds"] for one in found] for system, found in results.items()}
    checks = [Check("ids", ids == prepared[PEER]["ids"], "of the first two steps")]
    checks.append(_same_lengths(results) if method == "grpo" else _same_losses(losses))
    name = f"{method}, {size}"
    return [
        Case(name, "tokens/s", speeds, {PEER: GOALS[method]}, checks=checks),
        Case(f"{name}, memory", "MiB", memory, {PEER: 1.0}, higher_is_better=False),
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
