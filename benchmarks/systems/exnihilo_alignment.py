"""Alignment by exnihilo: the stages `sft`, `reward`, `dpo` and `grpo` as a run calls them, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.systems.alignment_data import SEED, write
from benchmarks.systems.loops import Loop
from benchmarks.systems.resident import peak_resident, resident
from benchmarks.systems.rollout import Rollout
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import BETAS, CLIP, EPS, LR, STEPS, WARM_UP
from exnihilo.align import dpo, grpo, reward
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.stage import Inputs
from exnihilo.core.workspace import Workspace
from exnihilo.train import fit, sft
from exnihilo.train.optimizer_config import OptimizerConfig, ScheduleConfig

__all__ = ["losses", "measure", "memory", "prepare", "write"]

STAGES = {"sft": sft.STAGE, "reward": reward.STAGE, "dpo": dpo.STAGE, "grpo": grpo.STAGE}

_running: dict[str, Any] = {"loaded": fit}  # what a stage needs is imported before memory is read


class SteppedWorkspace(Workspace):
    """Where `fit` asks once a step whether it is to stop, after the step's gradients, it is held up."""

    loop: Loop

    def stop_requested(self) -> int | None:
        self.loop.step_ended()
        return None


def prepare(
    method: str, parts: int, shape: dict[str, Any], folder: str, rollout: dict[str, Any]
) -> dict[str, Any]:
    """Start the stage, whose steps are computed in so many parts, and warm up."""
    _running["before"] = resident()
    stage, home = STAGES[method], Path(folder)
    examples = {"sft": "sft.jsonl", "grpo": "questions"}.get(method, "preferences")
    inputs: Inputs = {
        "model": home / ("policy" if method == "grpo" else "model"),
        "examples": home / examples,
    }
    work = SteppedWorkspace(home / f"ours-{method}", seed=SEED, stage=method)
    settings = stage.config.model_validate(_config(method, parts, Shape(**shape), Rollout(**rollout)))
    work.loop = Loop(lambda: stage.run(settings, inputs, work))
    answers = Rollout(**rollout).answers
    told = json.loads((home / f"{method}.json").read_text(encoding="utf-8"))
    _running.update(loop=work.loop, work=work, done=0, tokens=told.get("tokens"), answers=answers)
    work.loop.begin()
    return measure(WARM_UP)


def measure(steps: int) -> dict[str, Any]:
    """Take so many steps: their seconds, and the tokens that were learned from, or of answers that were sampled."""
    seconds = _running["loop"].seconds(steps)
    first, last = _running["done"], _running["done"] + steps
    _running["done"] = last
    if _running["tokens"] is not None:
        return {"seconds": seconds, "tokens": sum(_running["tokens"][first:last])}
    sampled = [record for record in _records() if "response_length" in record][first:last]
    return {
        "seconds": seconds,
        "tokens": round(sum(record["response_length"] * _running["answers"] for record in sampled)),
        "reward": sum(record["reward"] for record in sampled) / steps,
        "flat": sum(record["flat"] for record in sampled) / steps,
    }


def losses() -> list[float]:
    """Of all steps that are done."""
    return [record["loss"] for record in _records() if "loss" in record]


def memory() -> dict[str, float]:
    """MiB that the process held at most, and what it held before model and data."""
    return {"peak": peak_resident(), "before": _running["before"]}


def _records() -> list[dict[str, Any]]:
    return [record for _, record in read_jsonl(_running["work"].path / "metrics.jsonl")]


def _config(method: str, parts: int, shape: Shape, rollout: Rollout) -> dict[str, Any]:
    rate = rollout.rate if method == "grpo" else LR
    common = {
        "model": "model",
        "examples": "examples",
        "steps": STEPS,
        "optimizer": OptimizerConfig(
            name="adamw", lr=rate, lr_embedding=rate, betas=BETAS, eps=EPS, weight_decay=0.0
        ),
        "schedule": ScheduleConfig(kind="constant", warmup=0.0),
        "clip": CLIP,
        "log_every": 1,  # as trl's: the losses are compared
        "validate_every": 0,
        "sample_every": 0,
        "checkpoint_every": 0,
    }
    if method == "sft":
        return common | {"rows": shape.rows, "length": shape.length, "micro_rows": shape.rows // parts}
    if method == "grpo":
        return common | {
            "micro_rows": rollout.answers * rollout.context // (parts * rollout.row),  # as many positions
            "prompts": rollout.prompts,
            "group": rollout.group,
            "max_new": rollout.longest,
            "length": rollout.row,
            "beta": rollout.kl,
            "clip_low": rollout.low,
            "clip_high": rollout.high,
        }
    rows = shape.rows // 2
    return common | {"rows": rows, "length": 2 * shape.length, "micro_rows": rows // parts}
