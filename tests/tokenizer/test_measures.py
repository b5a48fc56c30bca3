from __future__ import annotations

import pytest

from exnihilo.core.errors import Refused
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.measures import format_stats, stats
from exnihilo.tokenizer.tokenizer import Tokenizer


def test_the_measures_of_a_text_counted_by_hand() -> None:
    tokenizer = train_tokenizer(["ab ab"] * 2, 266)  # merges: ab, " ab"
    measured = stats(tokenizer, ["ab ab é", "四", ""])
    # ab | " ab" | " " | c3 | a9 and e5 | 9b | 9b
    assert (measured.texts, measured.bytes, measured.characters, measured.words) == (3, 11, 8, 4)
    assert (measured.tokens, measured.byte_tokens) == (8, 5)
    assert measured.bytes_per_token == 11 / 8
    assert measured.tokens_per_character == 8 / 8
    assert measured.tokens_per_word == 8 / 4
    assert measured.byte_share == 5 / 8
    assert measured.longest[:2] == [" ab", "ab"]
    assert len(measured.unused) == 258 - 7  # of 256 bytes and 2 merges, 7 different ids occurred
    shown = format_stats(measured)
    assert "bytes per token       1.375" in shown
    assert "62.50% of tokens are one byte of a longer character" in shown
    assert "251 ids (94.4%) do not occur" in shown


def test_many_batches_add_up(corpus: list[str]) -> None:
    tokenizer = train_tokenizer(corpus, 400)
    lines = [line for text in corpus for line in text.splitlines()]
    assert len(lines) > 1000
    measured = stats(tokenizer, iter(lines))
    assert measured.tokens == sum(len(tokenizer.encode(line)) for line in lines)
    assert measured.bytes == sum(len(line.encode()) for line in lines)


def test_no_text_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(Refused, match="no text to measure"):
        stats(tokenizer, ["", ""])
