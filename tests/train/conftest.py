"""Lets the tests of this room import `tiny_runs`, which some of them start as processes of their own."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.writer import TokenSetWriter

sys.path.insert(0, str(Path(__file__).parent))


def colours(seed: int, documents: int) -> list[str]:
    """Short texts of a small world, some of it guessable."""
    draw = random.Random(seed)
    things = {
        "sky": "blue",
        "grass": "green",
        "blood": "red",
        "snow": "white",
        "coal": "black",
        "Mond": "weiß",
    }
    texts = []
    for _ in range(documents):
        lines = [f"The {thing} is {colour}." for thing, colour in draw.choices(list(things.items()), k=5)]
        texts.append("\n".join(lines))
    return texts


@pytest.fixture(scope="session")
def token_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Tokens folder of small texts, with a held-out split and its tokenizer."""
    folder = tmp_path_factory.mktemp("tokens") / "colours"
    tokenizer = train_tokenizer(colours(0, 40), 300)
    tokenizer.save(folder / "tokenizer")
    return write_token_set(folder, tokenizer, colours(1, 120), colours(2, 8))


def write_token_set(folder: Path, tokenizer: Tokenizer, train: list[str], held_out: list[str]) -> Path:
    with TokenSetWriter(folder, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint) as writer:
        for split, texts in (("train", train), ("held_out", held_out)):
            for text in texts:
                ids = [tokenizer.bos, *tokenizer.encode(text), tokenizer.eos]
                writer.write(split, ids, len(text.encode()), "made up")
    return folder
