"""A word problem of a given number of steps: its sentences, what each does to the count, and the answer."""

from __future__ import annotations

import random
from dataclasses import dataclass

from exnihilo.synth.question import Question
from exnihilo.synth.scenes import NAMES, SCENES

LARGEST = 30
"""No number on the way is larger: some nine hundred sums are what a model of half a million parameters learns in a
minute or two."""
SIGNS = {"groups": "*", "more": "+", "fewer": "-", "times": "*", "share": "/", "price": "*"}


@dataclass(frozen=True)
class Step:
    """A sentence, and what is computed from it: `left sign right = value`."""

    sentence: str
    left: int
    sign: str
    right: int
    value: int

    @property
    def worked(self) -> str:
        """The sentence with its computation behind it: `Then 4 leave: 19 - 4 = 15.`"""
        return f"{self.sentence.rstrip('.')}: {self.computation}."

    @property
    def computation(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.value}"


@dataclass(frozen=True)
class Problem:
    """What is told before the first step (nothing where that opens the story), the steps, and the question."""

    key: str  # the scene and what its steps do, in order: what splits go by
    opening: str
    steps: tuple[Step, ...]
    asked: str

    @property
    def told(self) -> str:
        """The story without the question."""
        return " ".join(part for part in (self.opening, *(step.sentence for step in self.steps)) if part)

    @property
    def question(self) -> str:
        return f"{self.told} {self.asked}"

    @property
    def answer(self) -> int:
        return self.steps[-1].value

    @property
    def account(self) -> str:
        """The story with the count kept after each sentence."""
        return " ".join(part for part in (self.opening, *(step.worked for step in self.steps)) if part)

    def as_question(self) -> Question:
        """With a short and a worked answer, checked by the last number."""
        answer = str(self.answer)
        short = f"The answer is {answer}."
        verifier = {"kind": "number", "value": answer}
        told = family(len(self.steps))
        return Question(told, self.key, self.question, answer, verifier, short, f"{self.account} {short}")


def family(steps: int) -> str:
    """The family of problems of so many steps."""
    return f"steps-{steps}"


def problem(rng: random.Random, steps: int) -> Problem:
    """A problem of so many steps, every count on the way within 1 … `LARGEST`."""
    while True:
        found = _attempt(rng, steps)
        if found is not None:
            return found


def _attempt(rng: random.Random, steps: int) -> Problem | None:
    scene, who = rng.choice(SCENES), rng.choice(NAMES)
    kinds = [rng.choice(("more", "more", "fewer", "fewer", "times")) for _ in range(steps)]
    if rng.random() < 0.3:
        kinds[-1] = rng.choice(("share", "price"))
    if rng.random() < 0.25:
        kinds[0] = "groups"
    opening, count, asked = "", 0, rng.choice(scene.asked).format(who=who)
    if kinds[0] != "groups":
        count = rng.randint(2, 2 * LARGEST // 3)
        opening = rng.choice(scene.start).format(who=who, n=count)
    done: list[Step] = []
    for kind in kinds:
        left = rng.randint(2, 9) if kind == "groups" else count
        right = _operand(rng, kind, left)
        if right is None:
            return None
        sign = SIGNS[kind]
        count = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]
        said: str = rng.choice(getattr(scene, kind)).format(
            who=who, n=left if kind == "groups" else right, m=right
        )
        if kind in ("share", "price"):
            # The sentence that changes the count; what follows it asks.
            cut = said.index(". ") + 1
            said, asked = said[:cut], said[cut + 1 :]
        done.append(Step(said, left, sign, right, count))
    return Problem("-".join((scene.name, *kinds)), opening, tuple(done), asked)


def _operand(rng: random.Random, kind: str, count: int) -> int | None:
    """The second number of a step from `count`; None where there is none that keeps the count in its range."""
    if kind == "more":
        choices = range(2, min(LARGEST // 2, LARGEST - count) + 1)
    elif kind == "fewer":
        choices = range(2, min(LARGEST // 2, count - 1) + 1)
    elif kind == "share":
        divisors = [n for n in range(2, 10) if count % n == 0]
        return rng.choice(divisors) if divisors else None
    else:
        choices = range(2, min(9, LARGEST // max(count, 1)) + 1)
    return rng.choice(choices) if choices else None
