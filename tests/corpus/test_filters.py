"""Each filter on both sides of its threshold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from exnihilo.corpus.checks import first_rejection
from exnihilo.corpus.filter_config import FilterConfig
from exnihilo.corpus.filters import general_checks
from exnihilo.corpus.text_batch import TextBatch

OFF = dict.fromkeys(FilterConfig.model_fields)


def only(**limits: float) -> FilterConfig:
    return FilterConfig(**{**OFF, **limits})  # type: ignore[arg-type]


def rejection(text: str, limits: FilterConfig) -> str | None:
    checks = general_checks(TextBatch.of(["another text", text]), limits)
    number = int(first_rejection(checks, 2)[1])
    return checks[number].reason if number >= 0 else None


def measure(reason: str, text: str) -> float:
    checks = general_checks(TextBatch.of([text, "another 0xff \ufffd\nanother"]), FilterConfig())
    return next(float(check.value[0]) for check in checks if check.reason == reason)


@pytest.mark.parametrize(
    ("key", "limit", "kept", "rejected", "reason"),
    [
        ("min_bytes", 6, " 河水\n", "河a", "too short"),
        ("max_line_length", 10, "x" * 10 + "\n\n" + "y" * 10, "x" * 10 + "\n" + "y" * 11, "lines too long"),
        ("min_letters", 0.5, "ab12", "ab123", "too few letters"),
        ("max_digits", 0.5, "ab12", "ab123", "mostly digits"),
        ("max_hexadecimal", 0.5, "0xff word", "0xfff word", "hexadecimal data"),
        ("max_duplicate_lines", 0.5, "a\na\nb\nb", "a\na\na\nb\nb", "repeated lines"),
        ("max_replacement", 0.25, "abc\ufffd", "ab\ufffd", "wrongly decoded"),
    ],
)
def test_corpus_1_both_sides_of_each_threshold(
    key: str, limit: float, kept: str, rejected: str, reason: str
) -> None:
    assert rejection(kept, only(**{key: limit})) is None
    assert rejection(rejected, only(**{key: limit})) == reason
    assert rejection(rejected, only()) is None


def test_corpus_1_documents_of_newlines_and_nothing_divide_by_nothing() -> None:
    for text in ("", "\n", "\n\n \t\n", " "):
        checks = general_checks(TextBatch.of([text]), FilterConfig())
        assert [check.value.tolist() for check in checks] == [[0.0]] * 7
        assert rejection(text, FilterConfig()) == "too short"
        assert rejection(text, only(max_duplicate_lines=0, max_digits=0, max_line_length=0)) is None


def test_corpus_2_repetition_of_one_line_and_of_joined_words() -> None:
    assert measure("repeated lines", "one line that stands alone") == 0.0
    # Lines are compared whole: "ab c" and "a bc" are different.
    assert measure("repeated lines", "ab c\na bc") == 0.0
    assert measure("repeated lines", "ab c\n\n  ab c  ") == 0.5


def test_core_5_a_threshold_of_zero_is_honoured() -> None:
    assert rejection("", only(min_bytes=0)) is None
    assert rejection("a1", only(max_digits=0)) == "mostly digits"
    assert rejection("a\na", only(max_duplicate_lines=0)) == "repeated lines"
    assert rejection("\ufffd" + "a" * 10_000, only(max_replacement=0)) == "wrongly decoded"
    assert rejection("a", only(max_line_length=0)) == "lines too long"


def test_letters_of_any_script_are_letters() -> None:
    # Devanagari and Arabic write vowels as marks on letters; every script has digits.
    for text in ("नमस्ते दुनिया", "الشَّهَادَةُ ظَاهِرَةٌ", "虞舜調清管王襃賦雅音", "Ünïcödé"):
        assert rejection(text, only(min_letters=1)) is None
    assert measure("mostly digits", "٤٢ 42 四") == 0.8


def test_hexadecimal_is_told_from_words() -> None:
    assert measure("hexadecimal data", "the facade was effaced, decade after decade; 12345678 of them") == 0.0
    assert measure("hexadecimal data", "deadbeef01 0xFF \\x1f \\u00e9") == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "句\n崔信明\n楓落吳江冷。",
        "def f(x):\n    return x\n\n\ndef g(x):\n    return x\n",
        "A short English sentence.",
        "word " * 3000,  # an essay on one line
    ],
)
def test_ordinary_texts_pass_the_defaults(text: str) -> None:
    assert rejection(text, FilterConfig()) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("12.5 17.3 99.1\n" * 20, "mostly digits"),
        ("0x1f, 0x2e, 0x3d, 0x4c,\n" * 20, "hexadecimal data"),
        ("+-+-+-+-+|=====|" * 20, "too few letters"),
        ("Buy now while it lasts!\n" * 20, "repeated lines"),
        ("function a(b){return b}" * 2000, "lines too long"),
    ],
)
def test_data_and_spam_do_not_pass_the_defaults(text: str, reason: str) -> None:
    assert rejection(text, FilterConfig()) == reason


def test_real_prose_and_poems_pass_the_defaults(data: Path) -> None:
    for name in ("tang-poems-zh", "arabic", "wikitext2-valid"):
        with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts = [text for text in (json.loads(line)["text"] for line in lines) if text.strip()][:1500]
        rejected = [text for text in texts if rejection(text, FilterConfig()) is not None]
        assert rejected == [], name
