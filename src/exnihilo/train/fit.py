"""The one training loop: model + batches + objective."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from exnihilo.core.errors import ConfigError, Interrupted, NotFinite
from exnihilo.core.memory import keep_freed_memory
from exnihilo.core.progress import Progress
from exnihilo.core.seeds import derive
from exnihilo.core.workspace import Workspace
from exnihilo.model.adapters import lora_layers
from exnihilo.model.decoder import Decoder
from exnihilo.model.precision import resolve_precision
from exnihilo.objectives.loss import Objective
from exnihilo.tokens.batch import Source
from exnihilo.train import distributed
from exnihilo.train.budget import batch_flops
from exnihilo.train.config import FitConfig
from exnihilo.train.early_stopping import Watch
from exnihilo.train.history import Known
from exnihilo.train.inside import Inside
from exnihilo.train.schedules import factor
from exnihilo.train.sources import told
from exnihilo.train.state import Counters, TrainingState
from exnihilo.train.step import Accumulator, StepSums
from exnihilo.train.telemetry import Peak, device_peak

Validate = Callable[[], dict[str, float]]
Sample = Callable[[int], None]


@dataclass(frozen=True)
class FitResult:
    """The end of a run: its steps and counters, the averaged training loss and the seconds spent in steps."""

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
            "loss": self.loss if math.isfinite(self.loss) else None,
            **{f"validation_{name}": value for name, value in validation.items()},
            **{name: value for name, value in counters.items() if value is not None},
            "training_seconds": self.seconds,
            "tokens_per_second": self.counters.tokens / seconds,
        }

    def remarks(self) -> list[str]:
        """What did not go as planned, a line each."""
        lines = []
        if (end := self.counters.stopped) is not None:
            lines.append(
                f"stopped after step {end['step']}, weights of step {end['back_to']}: {end['reason']}"
            )
        if self.counters.skipped:
            lines.append(f"{self.counters.skipped} of {self.steps} steps were skipped; log.txt says why")
        if (back := self.counters.rollback) is not None:
            lines.append(
                f"diverged at step {back['step']} and went back to step {back['to']}: learning rates "
                f"× {back['rate']:g} from there"
            )
        return lines


def fit(
    model: nn.Module,
    objective: Objective,
    source: Source,
    config: FitConfig,
    work: Workspace,
    *,
    validate: Validate | None = None,
    sample: Sample | None = None,
    known: Known | None = None,
    watch: Watch | None = None,
) -> FitResult:
    """Train `model` in place for `config.steps` steps on the batches of `source`.

    A step's gradient is that of the loss summed over all micro-batches and ranks, divided by their summed
    weight. `validate()` returns means (lower `loss` is better); they are recorded as `validation_…`.
    `sample(step)` records what the model says. What is `known` of the data is for advice. A `watch` may end the
    training early, and the model then has the weights that it called the best. Checkpoints go to
    `work.checkpoints`, and `work.resume` says whether to go on from one; a run resumed on the same machine and
    number of threads gives bit-identical weights.

    Raises:
        ConfigError: no number of steps, or fewer rows than processes.
        Refused: a checkpoint that cannot be resumed from: other shapes, tokenizer, data or optimizer.
        Diverged: five steps in a row were not finite, or the loss left its best level for good (`Level`),
            for the second time: the first time the run goes back to the last good checkpoint and on from
            there over the same batches, with half the learning rates.
        Interrupted: a signal came; a checkpoint was saved.
        OutOfMemory: one row does not fit.
    """
    if config.steps is None:
        raise ConfigError("steps: not given; say how many optimizer steps to train")
    keep_freed_memory()
    run = _Run(model, objective, source, config, config.steps, work, known or Known(), watch)
    return run.train(validate, sample)


class _Run:
    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        source: Source,
        config: FitConfig,
        steps: int,
        work: Workspace,
        known: Known,
        watch: Watch | None,
    ) -> None:
        self.model, self.source, self.config, self.steps, self.work = model, source, config, steps, work
        self.watch = watch
        dtype = resolve_precision(config.precision, next(model.parameters()).device)
        self.accumulator = Accumulator(model, objective, config.micro_rows, dtype)
        self.adapter_parameters = sum(
            p.numel() for layer in lora_layers(model) for p in layer.adapters.parameters()
        )
        self.state = TrainingState(model, source, config, steps, work)
        self.leads = self.state.leads
        self.start = self.state.resume()
        if watch is not None:
            self.state.unjudged = self.start - self.start % watch.every
        self.accumulator.micro_rows = self.state.micro_rows
        self.peak = self._peak()
        optimizers = self.state.optimizers
        self.inside = Inside(
            model, optimizers, config, steps, work, self.peak, known, start=self.start, leads=self.leads
        )
        self.shown: dict[str, Any] = {}
        self.warned = False

    def train(self, validate: Validate | None, sample: Sample | None) -> FitResult:
        self.model.train()
        self.work.stop_requested()  # from the first question on, the workspace leaves stopping to us
        label = f"training from step {self.start}" if self.start else "training"
        with self._progress(label) as bar:
            step = self.start
            while step < self.steps and self.state.counters.stopped is None:
                done = step + 1
                with self.inside.profiled(done):
                    sums = self._step(step)
                reason = self.state.guard.diverged or (
                    self._broken_at_the_end() if done == self.steps else None
                )
                if reason is not None:
                    step = self.state.go_back(done, reason)
                    self.accumulator.micro_rows = self.state.micro_rows
                    self.inside.losses.take()  # they are of steps that will be taken again
                    if bar is not None:
                        bar.advance(step - done + 1)
                    continue
                improved = False
                if validate is not None and self.leads and self._due(done, self.config.validate_every, 10):
                    improved = self._validate(done, validate)
                if sample is not None and self.leads and self._due(done, self.config.sample_every, 8):
                    self._sample(done, sample)
                looked = self._look(done)
                if (
                    improved
                    or looked
                    or sums.stop
                    or self._due(done, self.config.checkpoint_every, 10, at_most=500)
                ):
                    self.state.save(done)
                if sums.stop:
                    distributed.barrier()  # a rank that ends early could take the one that saves with it
                    raise Interrupted(self.work.stop_requested() or signal.SIGTERM)
                if bar is not None:
                    bar.set(**self.shown)
                    bar.advance()
                step = done
        if self.state.counters.stopped is not None:
            self.state.take_weights(self.state.counters.stopped["back_to"])
        distributed.barrier()
        result = FitResult(step, self.state.average.value, self.state.meter.seconds, self.state.counters)
        self.work.lines += [*result.remarks(), *self.inside.remarks()]
        return result

    def _progress(self, label: str) -> AbstractContextManager[Progress | None]:
        return self.work.progress(self.steps - self.start, label, "steps") if self.leads else nullcontext()

    def _step(self, step: int) -> StepSums:
        # Whatever an objective draws depends on seed and step alone, so that no generator's state is to be
        # saved.
        torch.manual_seed(derive(self.work.seed, "step", step))
        self.state.meter.start()
        try:
            batch = self.source.next(step, self.model)
        except NotFinite as error:  # of a source that generates with the model
            return self._without_batch(step, error)
        sums = self.accumulator.gradients(batch, self.work.stop_requested, self.config.clip)
        reason: str | None = "the loss has no weight in this batch"
        if sums.weight:
            reason = self.state.guard.judge(sums.loss, sums.norm)
        tokens = int((batch.segments >= 0).sum())
        flops = 0.0
        if isinstance(self.model, Decoder):
            flops = batch_flops(self.model.config, batch, self.adapter_parameters)
        if reason is None:
            if self.state.guard.healthy:
                self.state.proven()
            with self.inside.measured(step + 1, sums.norm):
                self.state.optimizers.step(self.state.rate * factor(self.config.schedule, step, self.steps))
            self.inside.accepted(sums)
            self.state.counters.tokens += tokens
            self.state.counters.flops += flops
            self.state.average.update(sums.loss)
        if self.accumulator.device.type == "cuda":
            torch.cuda.synchronize(self.accumulator.device)
        self.state.meter.stop(tokens, flops / distributed.world()[1])  # utilisation is that of one device
        self.state.micro_rows = self.accumulator.micro_rows
        for remark in self.accumulator.take_remarks():
            self._say("out_of_memory", step + 1, remark)
        if reason is None:
            self._log(step, sums)
        else:
            self.state.counters.skipped += 1
            self._say("skipped", step + 1, f"skipped, {reason}")
        return sums

    def _log(self, step: int, sums: StepSums) -> None:
        done = step + 1
        if not (done == 1 or done == self.steps or done % self.config.log_every == 0) or not self.leads:
            return
        rates = self.state.meter.take()
        utilisation = self.peak.utilisation(rates.flops)
        self.work.metric(
            step=done,
            tokens=self.state.counters.tokens,
            loss=sums.loss,
            ema=self.state.average.value,
            lr=self.state.rate * factor(self.config.schedule, step, self.steps) * self.state.optimizers.lr,
            grad_norm=sums.norm,
            tokens_per_second=rates.tokens,
            mfu=utilisation,
            time=self.state.meter.seconds,
            **self.inside.metrics(sums, self.state.counters.skipped),
        )
        self.inside.advise(done)
        self.shown = {"loss": self.state.average.value, "tokens/s": round(rates.tokens)}
        if utilisation is not None:
            self.shown["mfu"] = f"{utilisation:.0%}"
            if utilisation > 1 and not self.warned:
                self.warned = True
                self._say(
                    "mfu_above_peak", done, f"utilisation of {utilisation:.0%} can't be: peak {self.peak.how}"
                )

    def _without_batch(self, step: int, error: NotFinite) -> StepSums:
        """A step that has no batch, since the model can't generate one."""
        nan = float("nan")
        self.state.guard.judge(nan, nan)
        self.state.meter.stop(0, 0.0)
        self.state.counters.skipped += 1
        self._say("skipped", step + 1, f"skipped, not finite: {error}")
        asked = self.work.stop_requested() is not None
        return StepSums(
            nan, 0.0, {}, distributed.sum_over_ranks([float(asked)], self.accumulator.device)[0] > 0
        )

    def _broken_at_the_end(self) -> str | None:
        """How the weights after the last step are known to be broken, which no later step can tell."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.accumulator.parameters):
            return "the weights were not finite after the last step"
        bad = self.state.guard.non_finite_in_a_row
        return f"loss or gradient was not finite in the last {bad} steps" if bad > 1 else None

    def _sample(self, done: int, sample: Sample) -> None:
        try:
            sample(done)
        except NotFinite as error:  # the next steps will be judged, and go back
            self._say("not_sampled", done, f"no samples: {error}")

    def _validate(self, done: int, validate: Validate) -> bool:
        """Record a validation; whether it is the best so far."""
        self.model.eval()
        # Held-out rows come in other shapes, for each of which a compiled model would be compiled again.
        with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
            found = validate()
        self.model.train()
        finite = {name: value for name, value in found.items() if math.isfinite(value)}
        self.state.counters.validation = finite
        self.work.metric(
            step=done,
            tokens=self.state.counters.tokens,
            **{f"validation_{name}": value for name, value in found.items()},
        )
        self.inside.advise(done)
        self._say("validated", done, f"validation {told(found)}")
        best = self.state.counters.best
        if "loss" not in finite or (best is not None and finite["loss"] >= best["loss"]):
            return False
        self.state.counters.best = {"step": done, "loss": finite["loss"]}
        return True

    def _look(self, done: int) -> bool:
        """Whether the watch has looked; what it said is in the counters, and so in the checkpoint of this step."""
        if self.watch is None or not (done == self.steps or done % self.watch.every == 0):
            return False
        verdict = self.watch(done)
        self.state.unjudged = done
        if verdict is not None:
            self.state.counters.best = {"step": verdict.best, "loss": -verdict.score}
            if verdict.stop is not None:
                self.state.counters.stopped = {
                    "step": done, "back_to": verdict.best, "reason": verdict.stop
                }  # fmt: skip
                self._say("stopped", done, f"stopped, going back to step {verdict.best}: {verdict.stop}")
        return True

    def _due(self, done: int, every: int | None, parts: int, *, at_most: int | None = None) -> bool:
        """Whether something happens after step `done`: each `every` steps, by default `parts` times, and at
        the end."""
        if every is None:
            every = max(1, self.steps // parts)
            every = every if at_most is None else min(every, at_most)
        return done == self.steps or (every > 0 and done % every == 0)

    def _peak(self) -> Peak:
        """What utilisation is measured against, told once; n/a where FLOPs are not counted."""
        if not (self.leads and isinstance(self.model, Decoder)):
            return Peak(None, "n/a")
        device = self.accumulator.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        peak = device_peak(device.type, name, self.accumulator.dtype)
        self.work.event("peak", message=f"model-FLOPs utilisation (mfu) is of {peak.how}")
        return peak

    def _say(self, name: str, step: int, text: str) -> None:
        if self.leads:
            self.work.event(name, step=step, message=f"step {step}: {text}")
