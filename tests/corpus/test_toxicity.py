"""Lists of words in texts of their language, what stays of them, and a classifier in their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.linear_classifier import train
from exnihilo.corpus.toxicity import ToxicityConfig, ToxicityFilter

LISTS = {
    "en": "# ours\nDarn\nblue mud\nbloody-minded\n",
    "de": "Mist\nGift\nblöd\n",
    "es": "ano\n",
    "zh": "坏话\n",
    "th": "คำหยาบ\n",
}


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, Path]:
    for language, content in LISTS.items():
        (tmp_path / language).write_text(content, "utf-8")
    return {language: tmp_path / language for language in LISTS}


@pytest.mark.parametrize(
    ("language", "text", "bad"),
    [
        ("en", "Well, DARN it.", True),
        ("en", "darn", True),
        ("en", "He darned his socks, undarn", False),
        ("en", "Through blue\nmud they went", True),
        ("en", "blue, mud", False),
        ("en", "mud blue", False),
        ("en", "a Bloody-Minded man", True),
        ("en", "bloody minded", False),
        ("en", "ends with blue", False),
        ("en", "das ist Mist", False),
        ("de", "das ist MIST!", True),
        ("de", "BLÖD", True),
        ("de", "blo\u0308d", True),
        ("de", "blod", False),
        ("de", "darn", False),
        ("es", "el año pasado", False),
        ("es", "el ano", True),
        ("zh", "他说坏话了", True),
        ("zh", "好话", False),
        ("th", "นี่คือคำหยาบนะ", True),
        ("fr", "darn Mist 坏话", False),
        ("en", "", False),
    ],
)
def test_words_of_the_text_s_own_language(
    lists: dict[str, Path], language: str, text: str, bad: bool
) -> None:
    filter_ = ToxicityFilter(ToxicityConfig(words=lists), seed=1)
    (check,) = filter_.checks(["other", text, "darn"], ["en", language, "en"])
    assert check.rejects.tolist() == [False, bad, True]


def test_what_one_language_allows_is_bad_in_another(lists: dict[str, Path], tmp_path: Path) -> None:
    lists["en"].write_text("gift\nmist\n")
    allowed = tmp_path / "allowed"
    allowed.write_text("Gift\nmist\n")
    filter_ = ToxicityFilter(ToxicityConfig(words=lists, allowed={"en": allowed}), seed=1)
    (check,) = filter_.checks(["a gift in the mist", "ein Gift im Mist"], ["en", "de"])
    assert check.rejects.tolist() == [False, True]


def test_the_share_kept_is_chosen_by_the_text_alone(lists: dict[str, Path]) -> None:
    texts = [f"darn number {i}" for i in range(2000)]
    languages = ["en"] * len(texts)
    filter_ = ToxicityFilter(ToxicityConfig(words=lists, keep=0.1), seed=1)
    rejects = filter_.checks(texts, languages)[0].rejects
    assert 0.08 < 1 - rejects.mean() < 0.12
    assert filter_.checks(texts[::-1], languages)[0].rejects[::-1].tolist() == rejects.tolist()
    assert filter_.checks(texts[500:], languages[500:])[0].rejects.tolist() == rejects[500:].tolist()
    other = ToxicityFilter(ToxicityConfig(words=lists, keep=0.1), seed=2).checks(texts, languages)[0].rejects
    assert other.tolist() != rejects.tolist()


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        ToxicityFilter(ToxicityConfig(words={"en": tmp_path / "none"}), seed=1)
    (tmp_path / "latin").write_bytes(b"bl\xf6d\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        ToxicityFilter(ToxicityConfig(words={"de": tmp_path / "latin"}), seed=1)


def test_a_classifier_in_place_of_lists(tmp_path: Path) -> None:
    rude = [f"you are a silly old goat and nobody likes you number {i}" for i in range(60)]
    kind = [f"thank you for the lovely letter about your garden number {i}" for i in range(60)]
    train(rude, kind).save(tmp_path / "classifier")
    config = ToxicityConfig(classifier=tmp_path / "classifier", max_score=0.6)
    _, check = ToxicityFilter(config, seed=1).checks(
        ["what a silly goat you are", "a lovely garden"], ["en"] * 2
    )
    assert check.reason == "toxicity: score"
    assert check.rejects.tolist() == [True, False]
