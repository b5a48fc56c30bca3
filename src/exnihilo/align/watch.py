"""Watching a policy for over-optimisation: the reward that it is trained on rises, and what was meant by it falls.

A reward model that learned from other comparisons makes other mistakes. What the policy finds in the mistakes of the
one, the other does not see: its score of the same answers rises as long as the policy gets better, and stands still or
falls when it only gets better at deceiving the first (the turn of arXiv 2210.10760). Mistakes that they share, it does
not see either; but neither is trusted far from the answers it learned from, so that each nat of divergence has to bring
something. That needs no gold reward, which is recorded and never read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from exnihilo.align.responses import Response
from exnihilo.align.reward_sources import folders
from exnihilo.align.rewards import RewardSource, Scored, Unended, Verified
from exnihilo.align.watch_config import WatchConfig
from exnihilo.core.errors import ExnihiloError
from exnihilo.core.stage import Inputs
from exnihilo.core.workspace import Workspace
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.train.early_stopping import Verdict

LOOKS = 20
PATIENCE = 6
"""Looks without a rise that end a training: three tenths of it, where it is as long as was planned. After four, gold
had only dipped in one world of eight, and came to twice as much."""


@dataclass(frozen=True)
class Window:
    """The rollouts from one look to the next, which judge the checkpoint of the first.

    Attributes:
        start: steps done at the beginning.
        second, error: the second reward's mean, and its standard error.
        reward: of what is trained on.
        kl: from the reference, in nats an answer.
    """

    start: int
    second: float
    error: float
    reward: float
    kl: float


class SecondAndGold:
    """Two rewards that nothing is trained on, asked about every rollout."""

    def __init__(self, second: RewardSource | None, gold: RewardSource | None, work: Workspace) -> None:
        self.second, self.gold, self.work = second, gold, work

    def figures(self, responses: Sequence[Response]) -> dict[str, float]:
        """Their means, where there are such rewards, over the responses that they can judge."""
        found: dict[str, float] = {}
        scores = _known(self.second, responses)
        if len(scores) > 1:
            found |= {"second": fmean(scores), "second_error": stdev(scores) / math.sqrt(len(scores))}
        try:
            values = _known(self.gold, responses)
        except ExnihiloError as error:  # what is only watched must not end a training
            self.gold, values = None, []
            self.work.event("unwatched", message=f"the gold reward is no longer watched: {error}")
        return found | ({"gold": fmean(values)} if values else {})


class EarlyStop:
    """A `Watch` that goes by the second reward, less a price for each nat.

    It reads the records of rollouts back from metrics.jsonl, so that a resumed run decides as one that was not killed.

    Args:
        every: steps between looks, a multiple of a rollout's.
        price: what a nat has to bring.
    """

    def __init__(self, work: Workspace, every: int, price: float) -> None:
        self.work, self.every, self.price = work, every, price

    def __call__(self, done: int) -> Verdict | None:
        """What the rollouts so far say; None where the second reward could judge none."""
        path = self.work.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return verdict(windows(map(json.loads, lines), self.every, done), self.price)


def windows(records: Iterable[dict[str, Any]], every: int, done: int) -> list[Window]:
    """The windows of the first `done` steps, from lines of metrics.jsonl.

    A rollout recorded at step s was sampled with the weights after s - 1 steps.
    """
    parts: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        if record.get("second") is not None and record["step"] <= done:
            parts.setdefault((record["step"] - 1) // every, []).append(record)
    return [
        Window(
            number * every,
            fmean(one["second"] for one in part),
            math.sqrt(sum(one["second_error"] ** 2 for one in part)) / len(part),
            fmean(one["reward"] for one in part),
            # A rollout that nothing is learned from has none.
            fmean([one["kl_per_sequence"] for one in part if "kl_per_sequence" in one] or [0.0]),
        )
        for number, part in sorted(parts.items())
    ]


def verdict(seen: Sequence[Window], price: float) -> Verdict | None:
    """The best window, and why to stop: none of the `PATIENCE` after it has a higher score.

    A window's score is its second reward less `price` for each nat; higher means by more than the standard error of the
    difference. Of windows that are alike the first is the best: what moved less for the same is safer. None without
    windows.
    """
    if not seen:
        return None
    scores = [one.second - price * one.kl for one in seen]
    place = 0
    for i, one in enumerate(seen):
        if scores[i] - scores[place] > math.hypot(one.error, seen[place].error):
            place = i
    best, last = seen[place], seen[-1]
    if len(seen) - 1 - place < PATIENCE:
        return Verdict(best.start, scores[place])
    return Verdict(
        best.start,
        scores[place],
        f"since step {best.start} the reward that is trained on went from {best.reward:.2f} to {last.reward:.2f}, a "
        f"second one, which learned from other comparisons, from {best.second:.2f} to {last.second:.2f}, and the KL "
        f"from {best.kl:.1f} to {last.kl:.1f} nats an answer: what the policy still learns pleases the first alone, or "
        "moves it further than it is worth",
    )


def watch(
    config: WatchConfig,
    inputs: Inputs,
    work: Workspace,
    tokenizer: Tokenizer,
    items: Sequence[dict[str, Any]],
    *,
    rollouts: int,
    steps_per_rollout: int = 1,
    unended: float = 0.0,
    gold: RewardSource | None = None,
) -> tuple[SecondAndGold, EarlyStop | None]:
    """What watches a run of so many `rollouts`, and what may stop it: from its config and its inputs `reward`, `second`
    and `gold`.

    Raises Refused for a reward model that read another tokenizer's ids.
    """
    second: RewardSource | None = None
    if others := folders(inputs, "second"):
        second = Unended(Scored(others, tokenizer, force=True, name="second"), unended)
    if gold is None and (judges := folders(inputs, "gold")):
        gold = Scored(judges, tokenizer, force=True, name="gold")
    if gold is None and "reward" in inputs and all("verifier" in item for item in items):
        gold = Verified()
    every = config.every or max(1, round(rollouts / LOOKS))
    stop = None
    if second is not None and config.stop:
        stop = EarlyStop(work, every * steps_per_rollout, config.price)
    return SecondAndGold(second, gold, work), stop


def _known(source: RewardSource | None, responses: Sequence[Response]) -> list[float]:
    return [] if source is None else [value for value in source(responses) if value is not None]
