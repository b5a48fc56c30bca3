"""All that a run has to remember between two steps, and how it is saved and resumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from exnihilo.core.errors import Diverged, Refused
from exnihilo.core.workspace import Workspace
from exnihilo.model.precision import resolve_precision
from exnihilo.tokens.batch import Source
from exnihilo.train import distributed
from exnihilo.train.adapters import frozen_hash, trained
from exnihilo.train.checkpoint import (
    Checkpoint,
    amend_checkpoint,
    changes,
    discard_after,
    load_checkpoint,
    name_of,
    prune,
    resume_from,
    save_checkpoint,
)
from exnihilo.train.config import FitConfig
from exnihilo.train.guard import Guard
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.telemetry import Average, Meter

SMALLER = 0.5
"""What a divergence multiplies the learning rates by, once."""


@dataclass
class Counters:
    """What a run has done so far, sessions before a resume included.

    Attributes:
        tokens: tokens of accepted steps, padding left out.
        flops: model FLOPs of accepted steps.
        skipped: steps that were not taken.
        best: step and loss of the best validation.
        validation: the latest validation.
        rollback: after a divergence: at which step, to which checkpoint, why, and what the learning rates
            have been multiplied by since.
        stopped: where a watch ended the training: after which step, to which it went back, and why.
    """

    tokens: int = 0
    flops: float = 0.0
    skipped: int = 0
    best: dict[str, float] | None = None
    validation: dict[str, float] | None = None
    rollback: dict[str, Any] | None = None
    stopped: dict[str, Any] | None = None


class TrainingState:
    """Parameters, optimizer state, counters, and the configuration that they belong to.

    Only the first rank writes; every rank reads. Nothing in a checkpoint depends on the number of ranks.

    Attributes:
        good: step of the last checkpoint whose weights are known to be good: the step after it was judged
            with them, and taken.
        micro_rows: rows at once that fitted into memory.
        unjudged: step of a checkpoint that a watch has yet to judge, and which is kept until then.
    """

    def __init__(
        self, model: nn.Module, source: Source, config: FitConfig, steps: int, work: Workspace
    ) -> None:
        self.model, self.source, self.config, self.steps, self.work = model, source, config, steps, work
        self.leads = distributed.world()[0] == 0
        self.optimizers = Optimizers(
            model, config.optimizer, resolve_precision(config.precision, next(model.parameters()).device)
        )
        self.frozen = frozen_hash(model)
        self.guard = Guard(config.outlier_sigma)
        self.average = Average(config.ema)
        self.counters = Counters()
        self.meter = Meter()
        self.micro_rows = config.micro_rows
        self.good: int | None = None
        self.unjudged: int | None = None
        self._unproven: int | None = None  # the latest checkpoint, until its weights have been judged

    @property
    def rate(self) -> float:
        """What the scheduled learning rates are multiplied by."""
        return 1.0 if self.counters.rollback is None else float(self.counters.rollback["rate"])

    def save(self, done: int) -> None:
        """Write a checkpoint after `done` steps, and remove those not to be kept."""
        self._unproven = done
        if not self.leads:
            return
        folder = self.work.checkpoints
        tensors = trained(self.model), self.optimizers.tensors()
        save_checkpoint(folder, done, *tensors, self._scalars())
        best = self.counters.best
        prune(folder, self.config.keep, self.good, None if best is None else int(best["step"]), self.unjudged)

    def proven(self) -> None:
        """A step has been judged with the present weights, and taken: a checkpoint of them is a good one."""
        if self._unproven is not None:
            self.good, self._unproven = self._unproven, None

    def go_back(self, done: int, reason: str) -> int:
        """Return from a divergence at step `done` to the last good checkpoint, with smaller learning rates.

        That is recorded in the checkpoint, so that a run killed from here on resumes with them. Later
        checkpoints and records are removed: the same batches are read again. Returns the steps done there.

        Raises Diverged where there is no good checkpoint, or this was done before.
        """
        advice = "lower optimizer.lr, lengthen schedule.warmup, or look at the data"
        folder = self.work.checkpoints
        # The first rank's: only it validates, and saves when that is the best so far.
        (to,) = self._told_by_first(-1 if self.good is None else self.good)
        if to < 0:
            raise Diverged(f"step {done}: {reason}, and no good checkpoint is there to go back to; {advice}")
        if self.leads:
            discard_after(folder, to)
        distributed.barrier()
        if self.counters.rollback is not None:
            raise Diverged(
                f"step {done}: {reason}, again after going back to step {self.counters.rollback['to']} "
                f"with learning rates × {self.rate:g}; {advice} (the checkpoint of step {to} is kept)"
            )
        self._restore(load_checkpoint(folder / name_of(to)))
        self.counters.rollback = {"step": done, "to": to, "rate": SMALLER, "reason": reason}
        self.good, self._unproven = to, None
        distributed.barrier()
        if self.leads:
            self.work.truncate_records(to)
            amend_checkpoint(folder / name_of(to), to, self._scalars())
            self.work.event(
                "rolled_back",
                step=done,
                to=to,
                rate=SMALLER,
                message=f"step {done}: {reason}; going back to step {to}, learning rates × {SMALLER:g}",
            )
        return to

    def take_weights(self, step: int) -> None:
        """Give the model the weights of an earlier checkpoint; all else stays."""
        _load_parameters(self.model, load_checkpoint(self.work.checkpoints / name_of(step)))

    def _told_by_first(self, *values: int) -> list[int]:
        """The first rank's values, on every rank."""
        device = next(self.model.parameters()).device
        told = distributed.sum_over_ranks([float(value) if self.leads else 0.0 for value in values], device)
        return [int(value) for value in told]

    def _scalars(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "counters": asdict(self.counters),
            "seconds": self.meter.seconds,
            "average": [self.average.total, self.average.weight],
            "guard": self.guard.state(),
            "source": self.source.state(),
            "config": self.config.model_dump(mode="json"),
            "micro_rows": self.micro_rows,
            "good": self.good,
            "frozen": self.frozen,
        }

    def resume(self) -> int:
        """Go on from the checkpoint that `work.resume` asks for; the number of steps already done.

        Raises Refused as `resume_from`, and where the checkpoint is of another model, data or optimizer.
        """
        folder = self.work.checkpoints
        found, remarks = resume_from(folder, self.work.resume) if self.leads else (None, [])
        for remark in remarks:
            self.work.event("checkpoint_skipped", message=remark)
        done = 0
        if found is not None:
            done = found.step
            self._take(found)
        if self.leads:
            discard_after(folder, done)
            self.work.truncate_records(done)
        if found is None or found.path.parent.resolve() != folder.resolve():
            # The first step's checkpoint is where a run that diverges early goes back to, and a disk without
            # space for it is found out now. One of elsewhere is copied, so that "auto" continues from it.
            self.good = None
            self.save(done)
        done, resumed = self._told_by_first(done, int(found is not None))
        if not self.leads and resumed:
            self._take(load_checkpoint(folder / name_of(done)))
        return done

    def _take(self, checkpoint: Checkpoint) -> None:
        saved = checkpoint.state
        changed = changes(saved["config"], self.config.model_dump(mode="json"))
        if "optimizer.name" in changed:
            raise Refused(
                f"{checkpoint.path}: optimizer.name was {changed['optimizer.name']}; its state does not "
                "carry over, so keep it or start anew with --resume never"
            )
        if checkpoint.step > self.steps:
            raise Refused(
                f"{checkpoint.path}: {checkpoint.step} steps are done, and {self.steps} are asked for; ask for "
                "more, or start anew with --resume never"
            )
        self.source.resume(saved["source"])
        if saved.get("frozen") != self.frozen:
            raise Refused(
                f"{checkpoint.path}: trained on another base model, other adapters, or none; give the model and the "
                "lora settings that it was begun with, or start anew with --resume never"
            )
        self._restore(checkpoint)
        self.meter = Meter(saved["seconds"])
        if self.good is not None and not (self.work.checkpoints / name_of(self.good)).is_dir():
            self.good = None
        if "micro_rows" not in changed:
            self.micro_rows = saved.get("micro_rows", self.config.micro_rows)
        if self.leads:
            listed = "; ".join(f"{key} {values}" for key, values in changed.items())
            back = self.counters.rollback
            since = (
                "" if back is None else f", learning rates × {self.rate:g} since step {back['step']} diverged"
            )
            self.work.event(
                "resumed",
                step=checkpoint.step,
                steps=self.steps,
                changed=changed,
                message=f"continuing at step {checkpoint.step} of {self.steps} "
                + (f"(changed: {listed})" if changed else "(config unchanged)")
                + since,
            )

    def _restore(self, checkpoint: Checkpoint) -> None:
        saved = checkpoint.state
        _load_parameters(self.model, checkpoint)
        self.optimizers.load(checkpoint.optimizer)
        self.guard.load(saved["guard"])
        self.counters = Counters(**saved["counters"])
        self.average = Average(self.config.ema, *saved["average"])
        self.good, self._unproven = saved.get("good"), checkpoint.step


def _load_parameters(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's parameters into `model`. Raises Refused where names or shapes differ."""
    own = trained(model)
    different = own.keys() ^ checkpoint.parameters.keys() | {
        name
        for name in own.keys() & checkpoint.parameters.keys()
        if own[name].shape != checkpoint.parameters[name].shape
    }
    if different:
        raise Refused(
            f"{checkpoint.path}: another shape of model ({len(different)} parameters differ, "
            f"{min(different)} first); keep the model's settings, or start anew with --resume never"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(checkpoint.parameters[name])
