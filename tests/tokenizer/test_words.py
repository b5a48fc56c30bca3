from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokenizer.words import UNKNOWN, train_words


def words(tokenizer: Tokenizer) -> list[str]:
    return [token.decode() for token in tokenizer.token_bytes[len(SPECIALS) + 1 :]]


def test_words_are_told_apart_by_rules() -> None:
    text = "The U.S. can't, it's 1,234.5 e.g. well-known (四海)!\n\tEnd."
    tokenizer = train_words([text], 100, min_count=1)
    found = [tokenizer.decode([i]) for i in tokenizer.encode(text)]
    assert found == [
        *[
            "The",
            " U.S.",
            " can't",
            ",",
            " it's",
            " 1,234.5",
            " e.g.",
            " well-known",
            " (",
            "四",
            "海",
            ")",
            "!",
        ],
        *["\n", "\t", "End", "."],
    ]


def test_ids_are_specials_the_unknown_word_and_words_by_falling_count() -> None:
    tokenizer = train_words(["b a a a b c c z"], 100)
    assert list(tokenizer.special) == [*SPECIALS, UNKNOWN] and tokenizer.special[UNKNOWN] == 8
    assert words(tokenizer) == [" a", " c"]  # "b" and " b" are two words, seen once each
    assert words(train_words(["b a a a b c c z"], 10)) == [" a"]
    assert words(train_words(["x y z"], 100, min_count=1)) == [" y", " z", "x"]  # ties by their bytes


def test_the_unknown_rate_is_that_of_a_count_by_hand() -> None:
    tokenizer = train_words(["a b c a b a"] * 2, 100, min_count=3)
    unknown = tokenizer.special[UNKNOWN]
    assert words(tokenizer) == [" a", " b"]
    ids = tokenizer.encode(" a b c d a")
    assert ids.count(unknown) / len(ids) == 2 / 5
    assert tokenizer.decode(ids) == " a b a"
    assert tokenizer.decode(ids, skip_special=False) == " a b<|unk|><|unk|> a"


def test_fewer_words_are_unknown_the_larger_the_vocabulary(corpus: list[str]) -> None:
    train, held_out = [corpus[0], corpus[2]], corpus[1]
    rates = []
    for vocabulary in (100, 400, 1600):
        tokenizer = train_words(train, vocabulary, min_count=1)
        ids = tokenizer.encode(held_out)
        rates.append(ids.count(tokenizer.special[UNKNOWN]) / len(ids))
    assert all(small > large > 0 for small, large in pairwise(rates))


def test_every_text_of_known_words_comes_back(
    corpus: list[str], scripts: dict[str, str], tmp_path: Path
) -> None:
    texts = [*corpus, "a\r\nb \t\r c", "  two  \u3000 \u2028", "नमस्ते コーヒー ไม่มี", "\x00 ✓ ½ ²"]
    tokenizer = train_words(texts, 10**6, min_count=1)
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path, fingerprint=tokenizer.fingerprint)
    for text in (*texts, *scripts.values()):
        ids = again.encode(text)
        assert again.decode(ids) == text
        assert sum(len(again.token_bytes[i]) for i in ids) == len(text.encode())
        assert tokenizer.encode(text) == ids


def test_specials_in_texts_stay_text() -> None:
    text = "<|eos|> <|unk|>"
    tokenizer = train_words([text], 100, min_count=1)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not set(tokenizer.encode(text)) & set(tokenizer.special.values())


def test_the_order_of_texts_does_not_matter(corpus: list[str]) -> None:
    there, back = train_words(corpus, 900), train_words(reversed(corpus), 900)
    assert there.fingerprint == back.fingerprint


def test_no_text_no_frequent_word_and_no_room_are_refused() -> None:
    with pytest.raises(ConfigError, match="vocabulary: 9 is too small"):
        train_words(["text"], 9)
    with pytest.raises(Refused, match="no text"):
        train_words([""], 100)
    with pytest.raises(Refused, match="no word occurs 2 times"):
        train_words(["once only"], 100)
