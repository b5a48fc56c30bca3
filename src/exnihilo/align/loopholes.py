"""Rewards that follow from one plain thing, whatever an answer says: its length, or a word in it.

Such a reward is maximised without doing what was asked. Nobody but the user can say whether it is meant so: that is why
this tells, and does not stop.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exnihilo.align.responses import Response
from exnihilo.align.rewards import RewardSource

AT_ONCE = 256
"""Answers that are looked at together: the newest, whenever there are so many new ones."""
DECIDES = 0.95
"""The share of comparisons from which on one thing decides: by chance it is half, give or take a twelfth for the rarest
words that are looked at."""
COMMON, QUESTIONS = 0.05, 8
"""A word counts if so many of the answers, but not of those without it, have it, to so many questions: what is said to
one question only may be its answer."""
SHOWN = 3

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Paid:
    """An answer as it is looked at: what it was paid, its tokens, its words, and to which question it was given."""

    reward: float
    length: int
    words: frozenset[str]
    question: tuple[int, ...]


class Watched:
    """Another source; `tell` is called once for each loophole that `loopholes` finds in what it pays."""

    def __init__(self, source: RewardSource, tell: Callable[[str], None]) -> None:
        self.source, self.tell, self.name = source, tell, source.name
        self._paid: list[Paid] = []
        self._told: set[str] = set()

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        found = self.source(responses)
        for response, reward in zip(responses, found, strict=True):
            if reward is not None:
                words = frozenset(word.lower() for word in _WORD.findall(response.text))
                question = tuple(response.prompt)
                self._paid.append(Paid(reward, response.length, words, question))
        if len(self._paid) >= AT_ONCE:
            for kind, message in loopholes(self._paid[-AT_ONCE:]):
                if kind not in self._told:
                    self.tell(f"{self.name}: {message}")
                self._told.add(kind)
            self._paid = []
        return found


def loopholes(paid: Sequence[Paid]) -> Iterator[tuple[str, str]]:
    """(kind, what is paid for, in words) of everything that alone decides what these answers are paid."""
    rewards = np.array([one.reward for one in paid])
    more = np.sign(rewards[:, None] - rewards[None])
    lengths = np.array([one.length for one in paid])
    longer = np.sign(lengths[:, None] - lengths[None])
    differ = (more != 0) & (longer != 0)
    if differ.mean() > 0.2:
        share = float((more == longer)[differ].mean())
        if max(share, 1 - share) >= DECIDES:
            which = "longer" if share > 0.5 else "shorter"
            yield (
                "length",
                f"it pays for length: of two answers that are paid differently the {which} gets more in "
                f"{max(share, 1 - share):.0%} of the cases ({len(paid)} answers); look at samples.jsonl, whether they "
                "are better too",
            )
    found = sorted(_words(paid, more), reverse=True)
    if found:
        words = ", ".join(repr(word) for _, word in found[:SHOWN])
        yield (
            "word",
            f"it pays for words: answers with {words} get more than those without in {found[0][0]:.0%} of the cases "
            f"({len(paid)} answers); look at samples.jsonl, whether they are better too",
        )


def _words(paid: Sequence[Paid], more: np.ndarray) -> Iterator[tuple[float, str]]:
    """(how often an answer with the word gets more than one without, the word) of those that decide; ties are half."""
    least = COMMON * len(paid)
    counts = Counter(word for one in paid for word in one.words)
    for word, count in counts.items():
        if not least <= count <= len(paid) - least:
            continue
        has = np.array([word in one.words for one in paid])
        if len({one.question for one, there in zip(paid, has, strict=True) if there}) < QUESTIONS:
            continue
        share = float((more[has][:, ~has].mean() + 1) / 2)
        if share >= DECIDES:
            yield share, word
