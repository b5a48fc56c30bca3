from __future__ import annotations

import random
from itertools import product

import pytest
from tokenizers import Regex, pre_tokenizers

from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.pre_tokenisation import QWEN2, PreTokenisation

# As Qwen publishes it, and llama.cpp has it built in.
PUBLISHED = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
EVERY = [
    PreTokenisation(digits, *flags)  # type: ignore[arg-type]
    for digits in (1, 2, 3)
    for flags in product((False, True), repeat=3)
]


def pieces(choice: PreTokenisation, text: str) -> list[str]:
    split = pre_tokenizers.Split(Regex(choice.pattern), "isolated")
    return [piece for piece, _ in split.pre_tokenize_str(text)]


def test_the_default_is_the_published_pattern() -> None:
    assert PreTokenisation().pattern == QWEN2.pattern == PUBLISHED


@pytest.mark.parametrize(
    ("choice", "text", "expected"),
    [
        (QWEN2, "in 12345", ["in", " ", "1", "2", "3", "4", "5"]),
        (PreTokenisation(digits=2), "in 12345", ["in", " ", "12", "34", "5"]),
        (PreTokenisation(digits=3), "in 12345", ["in", " ", "123", "45"]),
        (QWEN2, "GPT是四海。コーヒーです", ["GPT是四海", "。コーヒーです"]),
        (PreTokenisation(cjk=True), "GPT是四海。コーヒーです", ["GPT", "是四海", "。", "コーヒー", "です"]),
        (PreTokenisation(cjk=True), "四" * 20 + " 한국 a", ["四" * 16, "四" * 4, " ", "한국", " a"]),
        (QWEN2, "كِتَاب", ["ك", "ِت", "َاب"]),
        (PreTokenisation(marks=True), "كِتَاب जी", ["كِتَاب", " जी"]),
        (QWEN2, "a:\n    b\n\n\tc", ["a", ":\n", "   ", " b", "\n\n", "\tc"]),
        (PreTokenisation(indentation=True), "a\n    b\n\n\tc", ["a", "\n    ", "b", "\n\n\t", "c"]),
    ],
)
def test_where_texts_are_cut(choice: PreTokenisation, text: str, expected: list[str]) -> None:
    assert pieces(choice, text) == expected


@pytest.mark.parametrize("choice", EVERY, ids=str)
def test_nothing_is_left_over_and_texts_come_back(choice: PreTokenisation, scripts: dict[str, str]) -> None:
    rng = random.Random(4)
    signs = [*"ab1é四五ーカな한ِा\u0300 \t\n\r'.,;-=〇々²½✓\u3000\u2028", "  ", "    ", "\r\n", "123", "'s"]
    texts = ["".join(rng.choices(signs, k=30)) for _ in range(200)] + list(scripts.values())
    tokenizer = train_tokenizer(texts, 400, choice)
    left_over = pre_tokenizers.Split(Regex(choice.pattern), "removed")
    for text in texts:
        assert left_over.pre_tokenize_str(text) == []
        assert "".join(pieces(choice, text)) == text
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_tokens_do_not_reach_across_cuts() -> None:
    texts = ["x = 2024\n        y = 2024\n"] * 9 + ["是四海是四海コーヒ"] * 9
    joined = set(train_tokenizer(texts, 400).token_bytes)
    cut = set(train_tokenizer(texts, 400, PreTokenisation(digits=2, cjk=True, indentation=True)).token_bytes)
    assert b"20" not in joined and b"20" in cut and b"2024" not in cut
    assert "海コ".encode() not in cut and any("海コ".encode() in token for token in joined)
    assert b"\n        " in cut and b"\n        " not in joined
