"""Words, lines and hashes of a batch against Python's own."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from exnihilo.corpus.first_equal import first_equal
from exnihilo.corpus.text_batch import Spans, TextBatch, mixed, string_hash

TEXTS = [
    "The cat's hat_1 — naïve, 3.14!\n\n  two\tthree ",
    "",
    "\n",
    "\n\n a \n\n\n b\n",
    "x",
    "白日依山盡，黃河入海流。 kana ひらがな",
    "السلام عليكم، كيف حالك؟",
    "emoji 👩‍👩‍👧 and \U0001f600\x0b vertical \u2028 tab",
    "a\0b" * 0 + "last\r",
]


def pieces(batch: TextBatch, spans: Spans) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(len(batch))]
    for text, start, end in zip(spans.text, spans.start, spans.end, strict=True):
        found[text].append(batch.joined[start:end])
    return found


def split_at(pattern: str) -> Callable[[str], list[str]]:
    return lambda text: [part for part in re.split(pattern, text) if part.strip()]


@pytest.mark.parametrize("order", [1, -1])
def test_words_chunks_lines_and_paragraphs(order: int) -> None:
    texts = TEXTS[::order]
    batch = TextBatch.of(texts)
    assert pieces(batch, batch.chunks) == [text.split() for text in texts]
    assert pieces(batch, batch.lines) == [split_at("\n")(text) for text in texts]
    assert pieces(batch, batch.stripped(batch.lines)) == [
        [line.strip() for line in split_at("\n")(text)] for text in texts
    ]
    assert pieces(batch, batch.paragraphs) == [split_at("\n{2,}")(text) for text in texts]
    ideograph = "[\u3040-\u30ff\u3400-\u9fff]"
    word = f"{ideograph}|(?:(?!{ideograph})\\w)+|[^\\w\\s]"
    assert pieces(batch, batch.words) == [re.findall(word, text) for text in texts]


def test_equal_hashes_are_equal_texts() -> None:
    batch = TextBatch.of(["a ab b ba ab", "ab a b", "a" * 40 + " " + "a" * 41])
    words = batch.words
    hashes = batch.hashes(words)
    spelled = [word for text in pieces(batch, words) for word in text]
    assert {(a, b) for a, b in zip(spelled, hashes.tolist(), strict=True)} == {
        (word, int(string_hash(word))) for word in spelled
    }
    assert len(set(hashes.tolist())) == len(set(spelled))


def test_sums_by_text() -> None:
    batch = TextBatch.of(["one two", "", "three"])
    assert batch.words.count.tolist() == [2, 0, 1]
    assert batch.words.total(batch.words.length).tolist() == [6, 0, 5]
    assert batch.words.where(batch.words.length > 3).count.tolist() == [0, 0, 1]


@pytest.mark.parametrize("size", [0, 1, 2, 1000, 4096])
def test_the_first_of_equal_keys(size: int) -> None:
    random = np.random.default_rng(size)
    keys = mixed(random.integers(0, max(size // 3, 1), size=size).astype(np.uint64))
    seen: dict[int, int] = {}
    assert first_equal(keys).tolist() == [seen.setdefault(key, i) for i, key in enumerate(keys.tolist())]


def test_keys_that_share_a_slot() -> None:
    keys = np.array([1, 2, 1, 3, 2, 1], dtype=np.uint64) << np.uint64(
        40
    )  # no bit where slots are first looked for
    assert first_equal(keys).tolist() == [0, 1, 0, 3, 1, 0]
