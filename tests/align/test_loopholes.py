"""Loopholes: what is paid for one plain thing is named, and what is earned otherwise is not."""

from __future__ import annotations

import random

import pytest

from exnihilo.align.loopholes import Paid, Watched, loopholes
from exnihilo.tokenizer.bpe import byte_tokenizer
from given_responses import Given, answered

WORDS = [f"w{n}" for n in range(60)]


def paid(count: int, reward: str, seed: int = 0) -> list[Paid]:
    """Answers of random words to many questions, of which one in five says "please"."""
    generator = random.Random(seed)
    found = []
    for n in range(count):
        words = frozenset(generator.sample(WORDS, 12)) | ({"please"} if generator.random() < 0.2 else set())
        length = generator.randrange(5, 40)
        value = {
            "length": float(length),
            "short": -float(length // 8),
            "word": float("please" in words),
            "judged": generator.gauss(0, 1) + 0.03 * length + ("please" in words),
            "right": float(generator.random() < 0.5),
        }[reward]
        found.append(Paid(value, length, words, (n % 64,)))
    return found


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ("length", [("length", "the longer gets more in 100% of the cases (256 answers)")]),
        ("short", [("length", "the shorter gets more in 100% of the cases")]),
        ("word", [("word", "answers with 'please' get more than those without in 100% of the cases")]),
        ("judged", []),
        ("right", []),
    ],
)
def test_what_alone_decides_is_named(reward: str, told: list[tuple[str, str]]) -> None:
    found = list(loopholes(paid(256, reward)))
    assert [kind for kind, _ in found] == [kind for kind, _ in told]
    assert all(part in message for (_, message), (_, part) in zip(found, told, strict=True))


def test_chance_names_nothing() -> None:
    assert not [one for seed in range(20) for one in loopholes(paid(256, "right", seed))]


def test_the_answer_to_one_question_is_no_loophole() -> None:
    """A question asked sixteen times and always answered rightly, where most others are not."""
    right = [Paid(1.0, 5, frozenset({"paris"}), (0,))] * 16
    others = [Paid(float(n % 24 == 0), 5, frozenset({WORDS[n % 60]}), (1 + n // 16,)) for n in range(240)]
    assert not list(loopholes(right + others))


def test_it_is_told_once_and_passes_on_what_was_paid() -> None:
    tokenizer, told = byte_tokenizer(), list[str]()
    responses = [answered(tokenizer, "a" * (n % 40 + 1)) for n in range(300)]
    values = [float(n % 40) for n in range(300)]
    source = Watched(Given("reward", *values), told.append)
    assert source(responses) == values and source(responses) == values
    assert len(told) == 1 and told[0].startswith("reward: it pays for length:")
