"""The one training loop: model + batches + objective."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from exnihilo.core.errors import ConfigError, Diverged, Interrupted, Refused
from exnihilo.core.progress import Progress
from exnihilo.core.seeds import derive
from exnihilo.core.workspace import Workspace
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.loss import Objective
from exnihilo.tokens.batch import Source
from exnihilo.tokens.state import check_state
from exnihilo.train import distributed
from exnihilo.train.budget import batch_flops
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
from exnihilo.train.guard import PATIENCE, Guard
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.schedules import factor
from exnihilo.train.step import Accumulator, StepSums, clip
from exnihilo.train.telemetry import Average, Meter, Peak, device_peak

Validate = Callable[[], dict[str, float]]
Sample = Callable[[int], None]


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


@dataclass(frozen=True)
class FitResult:
    """The end of a run: its counters, the averaged training loss and the seconds spent in steps."""

    steps: int
    loss: float
    seconds: float
    counters: Counters

    def summary(self) -> dict[str, Any]:
        """The figures that go into the artifact's manifest."""
        seconds = max(self.seconds, 1e-9)
        counters = asdict(self.counters)
        validation = counters.pop("validation") or {}
        return {
            "steps": self.steps,
            "loss": self.loss,
            **{f"validation_{name}": value for name, value in validation.items()},
            **{name: value for name, value in counters.items() if value is not None},
            "training_seconds": self.seconds,
            "tokens_per_second": self.counters.tokens / seconds,
        }


def fit(
    model: nn.Module,
    objective: Objective,
    source: Source,
    config: FitConfig,
    work: Workspace,
    *,
    validate: Validate | None = None,
    sample: Sample | None = None,
) -> FitResult:
    """Train `model` in place for `config.steps` steps on the batches of `source`.

    A step's gradient is that of the loss summed over all micro-batches and ranks, divided by their summed
    weight. `validate()` returns means (lower `loss` is better); they are recorded as `validation_…`.
    `sample(step)` records what the model says. Checkpoints go to `work.checkpoints`, and `work.resume` says
    whether to go on from one; a run resumed on the same machine and number of threads gives bit-identical
    weights.

    Raises:
        ConfigError: no number of steps, or fewer rows than processes.
        Refused: a checkpoint that cannot be resumed from: other shapes, tokenizer, data or optimizer.
        Diverged: five steps in a row were not finite.
        Interrupted: a signal came; a checkpoint was saved.
        OutOfMemory: one row does not fit.
    """
    if config.steps is None:
        raise ConfigError("steps: not given; say how many optimizer steps to train")
    return _Run(model, objective, source, config, config.steps, work).train(validate, sample)


class _Run:
    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        source: Source,
        config: FitConfig,
        steps: int,
        work: Workspace,
    ) -> None:
        self.model, self.source, self.config, self.steps, self.work = model, source, config, steps, work
        self.accumulator = Accumulator(model, objective, config.micro_rows)
        self.optimizers = Optimizers(model, config.optimizer)
        self.guard = Guard(config.outlier_sigma)
        self.average = Average(config.ema)
        self.counters = Counters()
        self.meter = Meter()
        self.leads = distributed.world()[0] == 0
        self.peak = _peak(model, self.accumulator.device) if self.leads else Peak(None, "n/a")
        self.shown: dict[str, Any] = {}
        self.warned = False
        self.start = self._resume()

    def train(self, validate: Validate | None, sample: Sample | None) -> FitResult:
        self.model.train()
        self.work.stop_requested()  # from the first question on, the workspace leaves stopping to us
        label = f"training from step {self.start}" if self.start else "training"
        with self._progress(label) as bar:
            for step in range(self.start, self.steps):
                sums = self._step(step)
                done = step + 1
                improved = False
                if validate is not None and self.leads and self._due(done, self.config.validate_every, 10):
                    improved = self._validate(done, validate)
                if sample is not None and self.leads and self._due(done, self.config.sample_every, 8):
                    sample(done)
                if improved or sums.stop or self._due(done, self.config.checkpoint_every, 10, at_most=500):
                    self._save(done)
                if sums.stop:
                    raise Interrupted(self.work.stop_requested() or signal.SIGTERM)
                if bar is not None:
                    bar.set(**self.shown)
                    bar.advance()
        return FitResult(self.steps, self.average.value, self.meter.seconds, self.counters)

    def _progress(self, label: str) -> AbstractContextManager[Progress | None]:
        return self.work.progress(self.steps - self.start, label, "steps") if self.leads else nullcontext()

    def _step(self, step: int) -> StepSums:
        # Whatever an objective draws depends on seed and step alone, so that no generator's state is to be
        # saved.
        torch.manual_seed(derive(self.work.seed, "step", step))
        self.meter.start()
        batch = self.source.next(step, self.model)
        sums = self.accumulator.gradients(batch, self.work.stop_requested)
        norm = float("nan")
        if sums.weight == 0:
            reason: str | None = "the loss has no weight in this batch"
        else:
            norm = clip(self.accumulator.parameters, self.config.clip)
            reason = self.guard.judge(sums.loss, norm)
        tokens = int((batch.segments >= 0).sum())
        flops = batch_flops(self.model.config, batch) if isinstance(self.model, Decoder) else 0.0
        if reason is None:
            self.optimizers.step(factor(self.config.schedule, step, self.steps))
            self.counters.tokens += tokens
            self.counters.flops += flops
            self.average.update(sums.loss)
        self.meter.stop(tokens, flops)
        for remark in self.accumulator.take_remarks():
            self._say("out_of_memory", step + 1, remark)
        if reason is None:
            self._log(step, sums, norm)
        else:
            self.counters.skipped += 1
            self._say("skipped", step + 1, f"skipped, {reason}")
        if self.guard.diverged:
            raise Diverged(
                f"step {step + 1}: loss or gradient was not finite in {PATIENCE} steps in a row; "
                "lower optimizer.lr, lengthen schedule.warmup, or look at the data"
            )
        return sums

    def _log(self, step: int, sums: StepSums, norm: float) -> None:
        done = step + 1
        if not (done == 1 or done == self.steps or done % self.config.log_every == 0) or not self.leads:
            return
        rates = self.meter.take()
        utilisation = self.peak.utilisation(rates.flops)
        self.work.metric(
            step=done,
            tokens=self.counters.tokens,
            loss=sums.loss,
            ema=self.average.value,
            lr=factor(self.config.schedule, step, self.steps) * self.optimizers.lr,
            grad_norm=norm,
            tokens_per_second=rates.tokens,
            mfu=utilisation,
            time=self.meter.seconds,
            **sums.metrics,
        )
        self.shown = {"loss": self.average.value, "tokens/s": round(rates.tokens)}
        if utilisation is not None:
            self.shown["mfu"] = f"{utilisation:.0%}"
            if utilisation > 1 and not self.warned:
                self.warned = True
                self._say(
                    "mfu_above_peak", done, f"utilisation of {utilisation:.0%} can't be: peak {self.peak.how}"
                )

    def _validate(self, done: int, validate: Validate) -> bool:
        """Record a validation; whether it is the best so far."""
        self.model.eval()
        with torch.inference_mode():
            found = validate()
        self.model.train()
        self.counters.validation = found
        self.work.metric(
            step=done,
            tokens=self.counters.tokens,
            **{f"validation_{name}": value for name, value in found.items()},
        )
        self._say("validated", done, "validation " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()))
        best = self.counters.best
        if "loss" not in found or (best is not None and found["loss"] >= best["loss"]):
            return False
        self.counters.best = {"step": done, "loss": found["loss"]}
        return True

    def _due(self, done: int, every: int | None, parts: int, *, at_most: int | None = None) -> bool:
        """Whether something happens after step `done`: each `every` steps, by default `parts` times, and at
        the end."""
        if every is None:
            every = max(1, self.steps // parts)
            every = every if at_most is None else min(every, at_most)
        return done == self.steps or (every > 0 and done % every == 0)

    def _save(self, done: int) -> None:
        if self.leads:
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
            save_checkpoint(
                folder, done, dict(self.model.named_parameters()), self.optimizers.tensors(), state
            )
            best = self.counters.best
            prune(folder, self.config.keep, None if best is None else int(best["step"]))
        distributed.barrier()

    def _resume(self) -> int:
        """Go on from the checkpoint that `work.resume` asks for; the number of steps already done."""
        folder = self.work.checkpoints
        found, remarks = resume_from(folder, self.work.resume) if self.leads else (None, [])
        for remark in remarks:
            self._say("checkpoint_skipped", 0, remark)
        done = 0
        if found is not None:
            done = found.step
            self._take(found)
        if self.leads:
            discard_after(folder, done)
            self.work.truncate_records(done)
        if found is not None and found.path.parent.resolve() != folder.resolve():
            self._save(done)  # so that "auto" continues from here, too
        if distributed.world()[1] > 1:
            done = int(distributed.sum_over_ranks([done], self.accumulator.device)[0])
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
        check_state(saved["source"], self.source.state())
        load_parameters(self.model, checkpoint)
        self.optimizers.load(checkpoint.optimizer)
        self.guard.load(saved["guard"])
        self.counters = Counters(**saved["counters"])
        self.average = Average(self.config.ema, *saved["average"])
        self.meter = Meter(saved["seconds"])
        listed = "; ".join(f"{key} {values}" for key, values in changed.items())
        if self.leads:
            self.work.event(
                "resumed",
                step=checkpoint.step,
                steps=self.steps,
                changed=changed,
                message=f"continuing at step {checkpoint.step} of {self.steps} "
                + (f"(changed: {listed})" if changed else "(config unchanged)"),
            )

    def _say(self, name: str, step: int, text: str) -> None:
        if self.leads:
            self.work.event(name, step=step, message=f"step {step}: {text}")


def load_parameters(model: nn.Module, checkpoint: Checkpoint) -> None:
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


def _peak(model: nn.Module, device: torch.device) -> Peak:
    if not isinstance(model, Decoder):
        return Peak(None, "n/a: FLOPs are counted for decoders only")
    return device_peak(
        device.type, torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    )
