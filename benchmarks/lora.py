"""LoRA and DoRA of rank 16 on every linear layer: tokens per second and memory, against `peft` and full tuning.

All start from the same base and the same adapters, get the same random ids, and train with AdamW in float32. The losses
of ours and of `peft` must be the same; full tuning does other work, and stands there to say what adapters save.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from typing import Any

from benchmarks.harness import OURS, Case, Check, Outcome
from benchmarks.processes import System, paired_rounds, running, together
from benchmarks.systems.shapes import LARGE, MEDIUM, SMALL, Shape

RANK = 16
PEFT, FULL = "peft", "exnihilo, full tuning"
LOSS_TOLERANCE = 1e-3
"""Of the losses, relative; see `benchmarks.training`."""


def run(quick: bool) -> Outcome:
    """LoRA on three shapes and DoRA on the middle one; with `quick` LoRA on the smallest."""
    if quick:
        return Outcome(_cases("5.8M", SMALL, "lora", steps=1, rounds=10, seconds=15.0))
    return Outcome(
        [
            *_cases("5.8M", SMALL, "lora", steps=3, rounds=12),
            *_cases("30M", MEDIUM, "lora", steps=1, rounds=12),
            *_cases("30M", MEDIUM, "dora", steps=1, rounds=12),
            *_cases("125M", LARGE, "lora", steps=1, rounds=10),
        ]
    )


def _cases(
    size: str, shape: Shape, kind: str, *, steps: int, rounds: int, seconds: float = math.inf
) -> list[Case]:
    ours, full = "benchmarks.systems.exnihilo_lora", {"adapter": None}
    systems = (
        System(OURS, ours, settings={"adapter": kind}),
        System(PEFT, "benchmarks.systems.peft_lora", "peft", {"adapter": kind}),
        System(FULL, ours, settings=full),
    )
    with tempfile.TemporaryDirectory() as folder:
        with running(systems[:1]) as (writer,):  # it has held more than training takes, and is not measured
            writer.call("write", shape=shape.as_dict(), folder=folder, rank=RANK)
        with running(systems) as workers:
            prepared = together(workers, "prepare", shape=shape.as_dict(), folder=folder)
            results = paired_rounds(workers, "measure", rounds, seconds=seconds, steps=steps)
            memory = {worker.name: [worker.call("memory")] for worker in workers}
    tokens = steps * shape.rows * shape.length
    name = f"{size}, {'LoRA' if kind == 'lora' else 'DoRA'}"
    speeds = {system: [tokens / one["seconds"] for one in found] for system, found in results.items()}
    held = Case(f"{name}, memory", "MiB", memory, higher_is_better=False, notes=[_saved(prepared)])
    return [Case(name, "tokens/s", speeds, checks=_checks(prepared, results)), held]


def _saved(prepared: Mapping[str, Any]) -> str:
    few, all_ = prepared[OURS], prepared[FULL]
    return (
        f"trained: {few['trained']:,} of {all_['trained']:,} parameters; optimizer state "
        f"{few['optimizer_state']:.1f} instead of {all_['optimizer_state']:.1f} MiB; memory is what model and training "
        "took at most, beyond the process before them"
    )


def _checks(prepared: Mapping[str, Any], results: Mapping[str, list[Any]]) -> list[Check]:
    """Same ids for all; of ours and `peft` the same number of trained parameters and the same losses."""
    everything = {system: [prepared[system], *results[system]] for system in prepared}
    ids = {system: [one["ids"] for one in found] for system, found in everything.items()}
    losses = {system: prepared[system]["losses"] for system in prepared}
    pairs = list(zip(losses[OURS], losses[PEFT], strict=True))
    apart = max(abs(a - b) / abs(b) for a, b in pairs)
    return [
        Check("ids", all(one == ids[OURS] for one in ids.values()), f"{len(ids[OURS])} batches"),
        Check(
            "trained parameters",
            prepared[OURS]["trained"] == prepared[PEFT]["trained"],
            f"{prepared[OURS]['trained']:,} and {prepared[PEFT]['trained']:,}",
        ),
        Check(
            "losses",
            all(math.isclose(a, b, rel_tol=LOSS_TOLERANCE) for a, b in pairs),
            f"the first {len(losses[OURS])} at most {apart:.1e} apart",
        ),
    ]
