"""What a run shows of itself while it trains: losses by source, norms by parameter, one step's profile, advice."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from exnihilo.core.workspace import Workspace
from exnihilo.model.decoder import Decoder
from exnihilo.train.advisor import Advisor
from exnihilo.train.config import FitConfig
from exnihilo.train.history import Facts, Known
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.schedules import warmup_steps
from exnihilo.train.sources import SourceLosses, other_metrics
from exnihilo.train.step import StepSums
from exnihilo.train.telemetry import Peak

NORMS = "norms.jsonl"
PROFILED = 3
"""The step of a session that is profiled: before it, memory is still being allocated and code being loaded."""


class Inside:
    """Only the first rank shows anything. What is not asked for costs nothing."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizers,
        config: FitConfig,
        steps: int,
        work: Workspace,
        peak: Peak,
        known: Known,
        *,
        start: int,
        leads: bool,
    ) -> None:
        self.config, self.steps, self.work, self.peak = config, steps, work, peak
        self.leads = leads
        self.named = {name: parameter for parameter, name in optimizers.names.items()}
        self.device: torch.device = next(model.parameters()).device
        self.losses = SourceLosses()
        self.profiled_step = min(start + PROFILED, steps) if config.profile and leads else None
        uniform = math.log(model.config.vocab_size) if isinstance(model, Decoder) else None
        facts = Facts(
            steps,
            warmup_steps(config.schedule, steps),
            config.clip,
            uniform,
            self.device.type == "cpu",
            known,
            peak.usual,
        )
        self.advisor = Advisor(work, facts) if leads else None

    def profiled(self, done: int) -> AbstractContextManager[None]:
        """Around a whole step: profiles the one that is to be."""
        if done != self.profiled_step:
            return nullcontext()
        from exnihilo.train.profile import TRACE, Profile, profiled

        def tell(found: Profile) -> None:
            lines = [*found.lines(), f"{TRACE} opens in Chrome (chrome://tracing) and at ui.perfetto.dev"]
            self.work.event("profile", step=done, message="\n  ".join(lines))

        return profiled(self.work.path, done, self.device, self.peak, tell)

    def measured(self, done: int, norm: float) -> AbstractContextManager[None]:
        """Around the optimizers' step, after clipping gradients of this global `norm`: measures norms when they
        are due."""
        every = self.config.norms_every
        if not (self.leads and every and (done == 1 or done == self.steps or done % every == 0)):
            return nullcontext()
        from exnihilo.train.norms import measured

        limit = self.config.clip
        shortened = 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))

        def record(**norms: Any) -> None:
            self.work.record(NORMS, step=done, **norms)

        return measured(self.named, shortened, record)

    def accepted(self, sums: StepSums) -> None:
        """Count a step that was taken."""
        self.losses.add(sums.metrics, sums.weight)

    def metrics(self, sums: StepSums, skipped: int) -> dict[str, float]:
        """What a line of metrics says beside the loss: the objective's own, and losses by source since the line
        before."""
        counted = {"skipped": skipped} if skipped else {}
        return other_metrics(sums.metrics) | self.losses.take() | counted

    def remarks(self) -> list[str]:
        """The advice of the whole run, for its end."""
        return [] if self.advisor is None else [f"advice: {text}" for text in self.advisor.texts()]

    def advise(self, done: int) -> None:
        """Say what the metrics so far give reason to say."""
        if self.advisor is not None:
            self.advisor.look(done)
