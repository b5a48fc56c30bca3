"""All that a run has to remember between two steps, and how it is saved and resumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import nn

from exnihilo.core.errors import Refused
from exnihilo.core.workspace import Workspace
from exnihilo.model.precision import resolve_precision
from exnihilo.tokens.batch import Source
from exnihilo.tokens.state import check_state
from exnihilo.train import distributed
from exnihilo.train.checkpoint import (
    Checkpoint,
    changes,
    discard_after,
    load_checkpoint,
    prune,
    resume_from,
    save_checkpoint,
)
from exnihilo.train.config import FitConfig
from exnihilo.train.guard import Guard
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.telemetry import Average, Meter


@dataclass
class Counters:
    """What a run has done so far, sessions before a resume included.

    Attributes:
        tokens: tokens of accepted steps, padding left out.
        flops: model FLOPs of accepted steps.
        skipped: steps that were not taken.
        best: step and loss of the best validation.
        validation: the latest validation.
    """

    tokens: int = 0
    flops: float = 0.0
    skipped: int = 0
    best: dict[str, float] | None = None
    validation: dict[str, float] | None = None


class TrainingState:
    """Parameters, optimizer state, counters, and the configuration that they belong to.

    Only the first rank writes; every rank reads. Nothing in a checkpoint depends on the number of ranks.
    """

    def __init__(
        self, model: nn.Module, source: Source, config: FitConfig, steps: int, work: Workspace
    ) -> None:
        self.model, self.source, self.config, self.steps, self.work = model, source, config, steps, work
        self.leads = distributed.world()[0] == 0
        self.optimizers = Optimizers(
            model, config.optimizer, resolve_precision(config.precision, next(model.parameters()).device)
        )
        self.guard = Guard(config.outlier_sigma)
        self.average = Average(config.ema)
        self.counters = Counters()
        self.meter = Meter()

    def save(self, done: int) -> None:
        """Write a checkpoint after `done` steps, and remove those not to be kept."""
        if not self.leads:
            return
        state = {
            "steps": self.steps,
            "counters": asdict(self.counters),
            "seconds": self.meter.seconds,
            "average": [self.average.total, self.average.weight],
            "guard": self.guard.state(),
            "source": self.source.state(),
            "config": self.config.model_dump(mode="json"),
        }
        folder = self.work.checkpoints
        save_checkpoint(folder, done, dict(self.model.named_parameters()), self.optimizers.tensors(), state)
        best = self.counters.best
        prune(folder, self.config.keep, None if best is None else int(best["step"]))

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
        if found is not None and found.path.parent.resolve() != folder.resolve():
            self.save(done)  # so that "auto" continues from here, too
        if distributed.world()[1] > 1:
            device = next(self.model.parameters()).device
            done = int(distributed.sum_over_ranks([done], device)[0])
            if not self.leads and done:
                self._take(load_checkpoint(folder / f"step-{done:08d}"))
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
        check_state(saved["source"], self.source.state())
        _load_parameters(self.model, checkpoint)
        self.optimizers.load(checkpoint.optimizer)
        self.guard.load(saved["guard"])
        self.counters = Counters(**saved["counters"])
        self.average = Average(self.config.ema, *saved["average"])
        self.meter = Meter(saved["seconds"])
        if self.leads:
            listed = "; ".join(f"{key} {values}" for key, values in changed.items())
            self.work.event(
                "resumed",
                step=checkpoint.step,
                steps=self.steps,
                changed=changed,
                message=f"continuing at step {checkpoint.step} of {self.steps} "
                + (f"(changed: {listed})" if changed else "(config unchanged)"),
            )


def _load_parameters(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's parameters into `model`. Raises Refused where names or shapes differ."""
    own = dict(model.named_parameters())
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
