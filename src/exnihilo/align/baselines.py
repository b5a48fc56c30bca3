"""What a reward model has to beat: a guess by length, and a classifier that only counts words."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.examples.preferences import Pair, Preference

BUCKETS = 1 << 14
"""Words are counted by hash; so many hold the words of some thousand answers with few collisions."""
DECAY = 1e-3
ROUNDS = 50

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Judged:
    """One pair of a preference, as a baseline sees it."""

    better: str
    worse: str

    @staticmethod
    def of(preference: Preference, pair: Pair) -> Judged:
        """The words of both answers."""
        return Judged(
            *(
                "\n".join(message.content for message in preference.answers[answer])
                for answer in (pair.better, pair.worse)
            )
        )


class Baseline(Protocol):
    """Above 0 where the preferred answer of a pair is the one that is guessed."""

    def gap(self, one: Judged) -> float: ...


class Longer:
    """The longer answer is better; or the shorter one, if that was so in most of what it was shown."""

    def __init__(self, shown: Sequence[Judged]) -> None:
        self.sign = 1 if sum(_longer(one) for one in shown) >= len(shown) / 2 else -1

    def gap(self, one: Judged) -> float:
        """Above 0 where the preferred answer is the one that is guessed."""
        return self.sign * (len(one.better) - len(one.worse))


class BagOfWords:
    """Logistic regression on the difference of the answers' word counts (1 + log), fitted to what it was shown."""

    def __init__(self, shown: Sequence[Judged]) -> None:
        self.weights = torch.zeros(BUCKETS)
        if not shown:
            return
        differences = [_difference(one) for one in shown]
        words = torch.tensor([word for one in differences for word in one], dtype=torch.long)
        counts = torch.tensor([count for one in differences for count in one.values()])
        whose = torch.repeat_interleave(torch.tensor([len(one) for one in differences]))
        weights = self.weights.requires_grad_()
        optimizer = torch.optim.LBFGS([weights], max_iter=ROUNDS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            gaps = torch.zeros(len(shown)).index_add(0, whose, weights[words] * counts)
            # Each pair stands for itself and its mirror image, so there is no bias.
            value = F.softplus(-gaps).mean() + DECAY * weights.square().sum()
            torch.autograd.backward(value)
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        self.weights = weights.detach()

    def gap(self, one: Judged) -> float:
        """Above 0 where the preferred answer is the one that is guessed."""
        return sum(float(self.weights[word]) * count for word, count in _difference(one).items())


def _longer(one: Judged) -> float:
    return 0.5 if len(one.better) == len(one.worse) else float(len(one.better) > len(one.worse))


def _difference(one: Judged) -> dict[int, float]:
    """By bucket, how much more of its words is in the better answer."""
    found = _counts(one.better)
    for word, count in _counts(one.worse).items():
        found[word] = found.get(word, 0.0) - count
    return {word: count for word, count in found.items() if count}


def _counts(text: str) -> dict[int, float]:
    words = Counter(zlib.crc32(word.lower().encode()) % BUCKETS for word in _WORD.findall(text))
    return {word: 1 + math.log(count) for word, count in words.items()}
