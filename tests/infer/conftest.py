"""A tokenizer and a small random model, made once."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from exnihilo.infer.byte_automaton import ByteAutomaton
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from random_decoder import random_decoder

# The model is tiny: a second thread only waits, 20 times as long where another process has that core.
torch.set_num_threads(1)

TEXTS = [
    "def add(left, right):\n    return left + right\n",
    "The module os.path defines join. Which module defines join? os.path.\n",
    "A question, an answer; a question, an answer. 1 + 2 is 3, 4 * 5 is 20.\n",
    "床前明月光 疑是地上霜 мир 🙂🙂 سلام\n",
] * 4


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 320)


def random_model(vocab_size: int, *, max_length: int = 96, seed: int = 0, spread: float = 0.3) -> Decoder:
    """A decoder whose weights are all random (the initialisation's zeros would make every block the
    identity)."""
    model = random_decoder(vocab_size, noise=0.0, seed=seed, heads=4, head_dim=8, max_length=max_length)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, spread)
    return model.eval()


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Decoder:
    return random_model(tokenizer.vocab_size)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Decoder]:
    return random_model


@pytest.fixture(scope="session")
def matches() -> Callable[[ByteAutomaton, str | bytes], bool]:
    """Whether an automaton accepts a whole text."""

    def match(automaton: ByteAutomaton, text: str | bytes) -> bool:
        state = automaton.start
        for byte in text if isinstance(text, bytes) else text.encode():
            state = automaton.step(state, byte)
        return state >= 0 and automaton.accepting(state)

    return match


@pytest.fixture(scope="session")
def walk() -> Callable[..., str]:
    """A random text of an automaton; after `longest` bytes it takes the shortest way to the end."""

    def wander(automaton: ByteAutomaton, draw: random.Random, longest: int = 40) -> str:
        state, text = automaton.start, bytearray()
        while True:
            following = [(byte, automaton.step(state, byte)) for byte in range(256)]
            following = [(byte, after) for byte, after in following if after >= 0]
            if automaton.accepting(state) and (not following or len(text) > longest or draw.random() < 0.2):
                return text.decode()
            if len(text) > longest:
                following = [
                    pair for pair in following if automaton.distance[pair[1]] < automaton.distance[state]
                ]
            byte, state = draw.choice(following)
            text.append(byte)

    return wander
