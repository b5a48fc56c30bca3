"""Rollouts made ahead: while the trainer steps, answers for later steps are sampled from weights as they were.

What a step learns from is then up to `staleness` steps old (arXiv 2410.18252). How old is a function of the step alone,
never of who was faster, so that a run is the same whenever it is run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

from exnihilo.align.kept_batches import load_batch, save_batch
from exnihilo.align.responses import Response
from exnihilo.align.rollouts import Rollout, Rollouts
from exnihilo.infer.generate import Generation
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.policy import OLD
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.state import Scalars, check_state


class StaleRollouts:
    """A `Source` whose batch of step s was sampled from the weights after step `max(0, s - staleness)`.

    A producer, a thread, works on the batches of the next `staleness` steps, in their order, each with a copy of the
    weights: so many copies and one are held at most. A batch carries what the trainer's own computation gives with
    those weights (`OLD`), besides what the sampler gave: how far the policy has gone since is clipped, and that the
    sampler is not the trainer is weighted, each by itself (arXiv 2505.24298).

    Batches are written to `folder` when they are made, and `state` waits for those under way: what a checkpoint needs
    to go on is there before the checkpoint is. Only where a run goes on for more steps than it was begun for may one be
    missing; it is then made from the weights as they are, which is not staler. Use as a context manager.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        *,
        staleness: int,
        steps: int,
        folder: Path,
        oldest_step: Callable[[], int] = lambda: 0,
    ) -> None:
        if staleness < 1:
            raise ValueError("a staleness of 0 is that of Rollouts, which makes no batch ahead")
        self.rollouts, self.staleness, self.folder = rollouts, staleness, folder
        self.steps, self.oldest_step = steps, oldest_step
        self._producer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollouts")
        self._coming: dict[int, Future[Rollout]] = {}
        self._next = 0

    def next(self, step: int, model: Decoder) -> Batch:
        """The batch of `step`; those of the steps up to `step + staleness` are on their way when it comes, as far as
        there are `steps`."""
        on_disk = range(0)
        if step != self._next or step == 0:  # begun anew, resumed, or gone back to an earlier checkpoint
            self._forget()
            on_disk = range(step, step + self.staleness if step else 0)
        weights: Decoder | None = None
        for wanted in range(step, min(step + self.staleness + 1, self.steps)):
            if wanted in self._coming:
                continue
            if wanted in on_disk and self._file(wanted).is_file():
                self._coming[wanted] = self._producer.submit(self._load, wanted)
                continue
            weights = weights or copy.deepcopy(model)
            # With adapters the reference is the model without them: that of the copy, which nobody changes.
            reference = weights if self.rollouts.reference is model else self.rollouts.reference
            self._coming[wanted] = self._producer.submit(self._make, wanted, step, weights, reference)
        self._next = step + 1
        self._prune()
        return self.rollouts.deliver(step, self._coming.pop(step).result(), model)

    def state(self) -> dict[str, int | float | str]:
        """The scalars that, with a step, the weights and the files, fix what is learned from."""
        wait(self._coming.values())
        return {**self.rollouts.state(), "staleness": self.staleness}

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other prompts, seed, shape or staleness. Raises Refused as `check_state`."""
        check_state(state, self.state())
        self._forget()

    def _make(self, step: int, version: int, model: Decoder, reference: Decoder) -> Rollout:
        made = self.rollouts.make(step, model, reference)
        old = {OLD: self.rollouts.logprobs(model, made.batch)}
        made = replace(
            made,
            batch=replace(made.batch, extra=made.batch.extra | old),
            figures=made.figures | {"staleness": float(step - version)},
        )
        told = {
            "responses": [asdict(response) for response in made.responses],
            "rewards": made.rewards,
            "figures": made.figures,
        }
        save_batch(self._file(step), made.batch, told)
        return made

    def _load(self, step: int) -> Rollout:
        batch, told = load_batch(self._file(step))
        responses = [
            Response(**{**one, "generation": Generation(**one["generation"])}) for one in told["responses"]
        ]
        return Rollout(batch, responses, told["rewards"], told["figures"])

    def _forget(self) -> None:
        for future in self._coming.values():
            future.cancel()
        self._coming = {}
        self._next = 0

    def _prune(self) -> None:
        """Remove batches that no checkpoint needs any more."""
        oldest = self.oldest_step()
        for path in self.folder.glob("rollout-*.safetensors"):
            if int(path.stem.removeprefix("rollout-")) < oldest:
                path.unlink(missing_ok=True)

    def _file(self, step: int) -> Path:
        return self.folder / f"rollout-{step:06d}.safetensors"

    def __enter__(self) -> StaleRollouts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.shutdown(wait=True, cancel_futures=True)
