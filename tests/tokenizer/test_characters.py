from __future__ import annotations

import random
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.bpe import SMALLEST
from exnihilo.tokenizer.characters import train_characters
from exnihilo.tokenizer.measures import stats
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer


def test_ids_are_specials_bytes_and_characters_by_falling_count() -> None:
    tokenizer = train_characters(["ab四四四ba", "é"], 1000)
    assert list(tokenizer.special) == list(SPECIALS)
    assert tokenizer.token_bytes[8:264] == [bytes([byte]) for byte in range(256)]
    assert [token.decode() for token in tokenizer.token_bytes[264:]] == ["四", "a", "b", "é"]
    assert train_characters(["ab四四四ba", "é"], 265).vocab_size == 265


def test_a_character_is_one_token_and_one_that_is_not_known_is_its_bytes(scripts: dict[str, str]) -> None:
    tokenizer = train_characters(scripts.values(), 10_000)
    measured = stats(tokenizer, scripts.values())
    assert measured.tokens_per_character == 1 and measured.byte_share == 0
    few = train_characters(scripts.values(), SMALLEST + 5)
    common = {token.decode() for token in few.token_bytes[SMALLEST:]}
    text = scripts["arabic"]
    expected = sum(1 if character in common else len(character.encode()) for character in text)
    assert len(few.encode(text)) == expected > len(text)


def test_every_text_comes_back(scripts: dict[str, str], tmp_path: Path) -> None:
    tokenizer = train_characters([*scripts.values(), "▁ and <0x41>"], 400)
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path, fingerprint=tokenizer.fingerprint)
    rng = random.Random(2)
    raw = [rng.randbytes(rng.randrange(1, 40)).decode("utf-8", "ignore") for _ in range(10_000)]
    cases = [
        *scripts.values(),
        *raw,
        "def f():\n\treturn  1\r\n",
        "▁",
        " ▁ ",
        "<0x41>",
        "<|eos|>",
        "",
        "\x00",
        "a" * 9000,
    ]
    for text, ids in zip(cases, again.encode_batch(cases), strict=True):
        assert again.decode(ids) == text
        assert sum(len(again.token_bytes[i]) for i in ids) == len(text.encode())
        assert not set(ids) & set(again.special.values())
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in scripts.values():
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ids == again.encode(text) and theirs.decode(ids) == text


def test_the_order_of_texts_does_not_matter(corpus: list[str]) -> None:
    assert train_characters(corpus, 300).fingerprint == train_characters(reversed(corpus), 300).fingerprint


def test_no_text_and_no_room_are_refused() -> None:
    with pytest.raises(ConfigError, match="vocabulary: 263 is too small"):
        train_characters(["text"], 263)
    with pytest.raises(Refused, match="no text"):
        train_characters([""], 300)
