"""A world in which what is good is known: answers are lists of words, and a hidden table says what each is worth."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from exnihilo.align.responses import Response

WORDS = [
    "apple", "bread", "candle", "desk", "engine", "forest", "garden", "hammer", "island", "jacket", "kettle", "ladder",
    "mirror", "needle", "orange", "pencil", "quilt", "ribbon", "saddle", "table", "umbrella", "violin", "window",
    "yarn",
]  # fmt: skip
PLACES = [
    "beach", "school", "market", "harbour", "kitchen", "mountain", "theatre", "village", "castle", "bridge", "tower",
    "meadow",
]  # fmt: skip
SHORTEST, LONGEST = 4, 10
"""Words of the answers that a policy begins with."""
REPEATED = 1.0
"""What a word costs that was said before."""
UNEVEN = 0.6
"""Standard deviation of the log-odds with which a place has a word."""


class WordWorld:
    """Places, what is found in each, and the gold reward of an answer; all follow from `seed`.

    A word is worth what a normal distribution gave it, once; said again, it costs. What is no word of this world, or
    comes after the tenth, costs as much.
    """

    name = "gold"

    def __init__(self, seed: int) -> None:
        drawn = random.Random(seed)
        self.worth = {word: drawn.gauss(0, 1) for word in WORDS}
        self.odds = {place: [math.exp(UNEVEN * drawn.gauss(0, 1)) for _ in WORDS] for place in PLACES}

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        return [self.gold(response.text) for response in responses]

    def gold(self, text: str) -> float:
        """The sum of what each word is worth, or costs."""
        said, total = set[str](), 0.0
        for place, word in enumerate(text.split()):
            total += -REPEATED if word in said or place >= LONGEST else self.worth.get(word, -REPEATED)
            said.add(word)
        return total

    def questions(self) -> list[dict[str, Any]]:
        """One a place."""
        return [
            {"family": place, "messages": [{"role": "user", "content": f"What is in the {place}?"}]}
            for place in PLACES
        ]

    def conversations(self, count: int, seed: int) -> Iterator[dict[str, Any]]:
        """Questions with answers at random, which know nothing of what is good."""
        drawn, questions = random.Random(seed), self.questions()
        for i in range(count):
            question = questions[i % len(questions)]
            size = drawn.randint(SHORTEST, LONGEST)
            answer = " ".join(drawn.choices(WORDS, self.odds[question["family"]], k=size))
            yield {"messages": [*question["messages"], {"role": "assistant", "content": answer}]}
