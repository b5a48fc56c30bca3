"""What the rules of `advice` look at: the lines of metrics so far, and facts about the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Known:
    """What a stage knows of its data before it begins.

    Attributes:
        epochs: how often each token set will be read.
        unigram: loss in nats of a model that knows each token's frequency and nothing else.
    """

    epochs: Mapping[str, float] = field(default_factory=dict)
    unigram: float | None = None


@dataclass(frozen=True)
class Facts:
    """What the rules need to know of a run beside its metrics.

    Attributes:
        steps, warmup: of the run.
        clip: the limit of the gradient norm.
        uniform: loss in nats of a model that guesses (the logarithm of the vocabulary), where that is known.
        on_cpu: whether utilisation is of a peak that was measured on this machine.
        usual: utilisation of small models in the run's precision.
        known: see `Known`.
    """

    steps: int
    warmup: int = 0
    clip: float | None = None
    uniform: float | None = None
    on_cpu: bool = True
    known: Known = Known()
    usual: float = 0.35


@dataclass
class History:
    """The lines of metrics.jsonl by what they are about, in their order."""

    training: list[Record] = field(default_factory=list)
    validations: list[Record] = field(default_factory=list)
    rollouts: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take a line; one that holds none of the three, or what is no number, is passed over."""
        if _numbers(record, "reward"):
            self.rollouts.append(record)
        elif _numbers(record, "validation_loss"):
            self.validations.append(record)
        elif _numbers(record, "loss", "ema", "grad_norm"):
            self.training.append(record)

    @property
    def predicts_text(self) -> bool:
        """Whether the loss is a cross-entropy; a policy's hovers around zero and says nothing."""
        return bool(self.training) and not self.rollouts


Rule = Callable[[History, Facts], str | None]


def _numbers(record: Record, *keys: str) -> bool:
    # A value that was not finite stands as null.
    return all(isinstance(record.get(key), int | float) for key in keys)
