"""Generation: tokens per second against `transformers`, one static batch and continuous batching, on the same model."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.harness import OURS, Case, Check, Outcome, table
from benchmarks.processes import System, Worker, WorkerFailed, paired_rounds, running, together
from benchmarks.systems.shapes import MEDIUM
from benchmarks.systems.workloads import Workload

PEER = "benchmarks.systems.transformers_generation"
SYSTEMS = (
    System(OURS, "benchmarks.systems.exnihilo_generation"),
    System("generate", PEER, "transformers", {"how": "static"}),
    System("generate compiled", PEER, "transformers", {"how": "compiled"}),
    System("continuous batching", PEER, "transformers", {"how": "continuous"}),
)
QUICK = 35.0
"""Seconds after which a quick run begins no further round."""
TIE = 1e-4
"""Logits closer than this are a tie: which is larger depends on the order of sums."""


def run(quick: bool) -> Outcome:
    """One, 8 and 32 requests of equal length, 32 of 16 to 256 tokens, 64 samples of one prompt; quick: the first."""
    vocabulary = MEDIUM.vocabulary
    workloads = {
        "1 request": (Workload(1, 64, 128, 128, vocabulary), 1.5),
        "8 requests": (Workload(8, 64, 128, 128, vocabulary), 2.0),
        "32 requests": (Workload(32, 64, 128, 128, vocabulary), 2.5),
        "32 requests of 16 to 256 tokens": (Workload(32, 64, 16, 256, vocabulary), 4.0),
        "64 samples of one prompt": (
            Workload(64, 256, 64, 64, vocabulary, one_prompt=True, greedy=False),
            6.0,
        ),
    }
    until = math.inf
    if quick:
        workloads = {"1 request": (Workload(1, 64, 64, 64, vocabulary), 1.5)}
        until = time.monotonic() + QUICK
    with tempfile.TemporaryDirectory() as folder, running(SYSTEMS) as workers:
        workers[0].call("write", shape=MEDIUM.as_dict(), folder=folder)
        parameters = together(workers, "prepare", folder=folder)
        same = Check("parameters", set(parameters.values()) == {MEDIUM.parameters}, f"{MEDIUM.parameters:,}")
        cases = []
        for name, (workload, goal) in workloads.items():
            case = _case(name, workload, goal, workers, rounds=8 if quick else 5, until=until)
            print(table(Outcome([case])), file=sys.stderr, flush=True)
            cases.append(case)
    cases[0].checks.insert(0, same)
    return Outcome(cases)


def _case(
    name: str, workload: Workload, goal: float, workers: Sequence[Worker], *, rounds: int, until: float
) -> Case:
    asked = workload.as_dict()
    able, notes, first = [], [], {}
    for worker in workers:  # a warm-up, and whether the system can do it at all
        try:
            first[worker.name] = worker.call("measure", workload=asked, turn=0)
            able.append(worker)
        except WorkerFailed as error:
            if worker.name == OURS:
                raise
            notes.append(f"left out, it failed: {error}")
    results = paired_rounds(able, "measure", rounds, seconds=until - time.monotonic(), workload=asked, turn=1)
    tokens = sum(workload.lengths(0))
    return Case(
        name,
        "tokens/s",
        {system: [tokens / one["seconds"] for one in found] for system, found in results.items()},
        {worker.name: goal for worker in able if worker.name != OURS},
        checks=_checks(workload, first, workers[0]),
        notes=notes,
    )


def _checks(workload: Workload, found: dict[str, Any], ours: Worker) -> list[Check]:
    """Every text has its length; greedy ones are the same token for token, up to ties."""
    lengths = workload.lengths(0)
    checks = [
        Check(
            "lengths",
            all([len(ids) for ids in one["ids"]] == lengths for one in found.values()),
            f"{sum(lengths):,} tokens",
        )
    ]
    if not workload.greedy:
        return checks

    def margin(prefix: list[int], first: int, second: int) -> float:
        return float(ours.call("margin", prefix=prefix, first=first, second=second))

    texts = {system: one["ids"] for system, one in found.items()}
    own = texts.pop(OURS)
    return checks + [
        same_texts(peer, workload.prompts(0), own, theirs, margin) for peer, theirs in texts.items()
    ]


def same_texts(
    peer: str,
    prompts: Sequence[list[int]],
    own: Sequence[list[int]],
    theirs: Sequence[list[int]],
    margin: Callable[[list[int], int, int], float],
) -> Check:
    """Texts are the same, or part where the logits of the two tokens are closer than a tie: `margin(prefix, a, b)`."""
    equal, ties, worst = 0, 0, 0.0
    for prompt, a, b in zip(prompts, own, theirs, strict=True):
        place = first_difference(a, b)
        if place is None:
            equal += 1
        elif place == min(len(a), len(b)):  # one ended before the other: no tie explains that
            worst = math.inf
        else:
            apart = margin([*prompt, *a[:place]], a[place], b[place])
            ties += apart < TIE
            worst = max(worst, apart)
    detail = f"{equal} of {len(own)} equal, {ties} part at a tie"
    if worst >= TIE:
        detail += f", {len(own) - equal - ties} at logits up to {worst:.1e} apart"
    return Check(f"texts as {peer}", worst < TIE, detail)


def first_difference(a: Sequence[int], b: Sequence[int]) -> int | None:
    """Where two texts part; the shorter one's length if it is the beginning of the other; None if they are equal."""
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return None if len(a) == len(b) else min(len(a), len(b))
