"""C4's rules by line and by text, in C4's order."""

from __future__ import annotations

import pytest

from exnihilo.corpus.c4 import c4_quality, sentence_counts
from exnihilo.corpus.c4_config import C4Limits
from exnihilo.corpus.checks import first_rejection
from exnihilo.corpus.text_batch import TextBatch

OFF = {
    "finished_lines": False,
    "min_words": None,
    "max_word": None,
    "min_sentences": None,
    "lines_without": [],
    "texts_without": [],
    "citations": False,
}


def clean(text: str, **limits: object) -> str | None:
    """The text that is left, or None where it is rejected."""
    found = c4_quality(["Other text.", text, ""], C4Limits(**(OFF | limits)))  # type: ignore[arg-type]
    return found.texts[1] if first_rejection(found.checks, 3)[1] < 0 else None


@pytest.mark.parametrize(
    ("limits", "text", "left"),
    [
        (
            {"finished_lines": True},
            'One.\n two? \nthree\nHe said "so"\nand...\nend!',
            'One.\ntwo?\nHe said "so"\nend!',
        ),
        ({"min_words": 3}, "a b c\nd e\nf, g. h", "a b c\nf, g. h"),
        ({"max_word": 5}, "short words\nlonger 123456 goes\n12345", "short words\n12345"),
        ({"lines_without": ["javascript"]}, "Enable JavaScript now\nstay", "stay"),
        ({"lines_without": ["use cookies"]}, "We USE cookies.\nuse of cookies", "use of cookies"),
        (
            {"citations": True},
            "so[12] it[] is[citation needed].\n[edit]\n[sic] stays",
            "so it is.\n[sic] stays",
        ),
        ({}, "  kept \n\n  as lines\t\n", "kept\nas lines"),
    ],
)
def test_lines_that_go(limits: dict[str, object], text: str, left: str) -> None:
    assert clean(text, **limits) == left


def test_texts_that_go_whole() -> None:
    assert clean("a line\nLorem Ipsum dolor", texts_without=["lorem ipsum"]) is None
    assert clean("if (a) { b }", texts_without=["{"]) is None
    assert clean("if (a) [ b ]", texts_without=["{"]) == "if (a) [ b ]"


def test_a_line_that_is_gone_condemns_nothing() -> None:
    text = "x { y\nA whole sentence that stays."
    assert clean(text, texts_without=["{"], finished_lines=True) == "A whole sentence that stays."
    assert clean(text, texts_without=["{"]) is None


def test_sentences_left_are_counted() -> None:
    text = "One. Two? Three!\nnot finished\nFour."
    assert clean(text, min_sentences=4, finished_lines=True) == "One. Two? Three!\nFour."
    assert clean(text, min_sentences=5, finished_lines=True) is None
    assert clean(text, min_sentences=5) is not None  # a line without an end is a sentence


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("One.", 1),
        ("One. Two", 2),
        ('He said "no." She did not.', 2),
        ("(It rained.) It rained on.", 2),
        ("Version 3.11 is out", 1),
        ("What?! Yes...", 2),
        ("白日依山盡。黃河入海流。", 2),
        ("اين هو؟ هنا.", 2),
    ],
)
def test_sentences_of_a_line(line: str, count: int) -> None:
    batch = TextBatch.of(["before.", line])
    assert sentence_counts(batch, batch.lines).tolist() == [1, count]


def test_lines_taken_out_are_counted_by_reason() -> None:
    found = c4_quality(["One two three.\ntwo words\njavascript is here."], C4Limits(min_sentences=1))
    assert found.lines == {
        "c4: a word too long": 0,
        "c4: unfinished line": 1,
        "c4: too few words in a line": 0,
        "c4: line holds 'javascript'": 1,
    } | {
        reason: 0 for reason in found.lines if "cookies" in reason or "policy" in reason or "terms" in reason
    }
    assert found.texts == ["One two three."]
