"""Block lists against addresses in any spelling, and which addresses are one page."""

from __future__ import annotations

from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.urls import UrlConfig, UrlFilter, url_key


@pytest.fixture
def lists(tmp_path: Path) -> UrlFilter:
    contents = {
        "domains": "# a comment\nCasino.Example\n*.ads.example.org\nmünchen.example\n",
        "urls": "https://www.news.example/Story?id=7&utm_source=x\n",
        "words": "Roulette\nstraße\n",
        "soft_words": "free\nBONUS\nहिन्दी\n",
        "substrings": "pill-Shop\n",
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = tmp_path / f"{name}.txt"
        paths[name].write_text(content, "utf-8")
    return UrlFilter(UrlConfig(**paths))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://casino.example/", "blocked domain"),
        ("https://WWW.Play.CASINO.example:8080/a", "blocked domain"),
        ("casino.example./terms", "blocked domain"),
        ("https://user:secret@casino.example/", "blocked domain"),
        ("http://x.ads.example.org", "blocked domain"),
        ("http://xn--mnchen-3ya.example/bier", "blocked domain"),
        ("http://notcasino.example/", None),
        ("http://casino.example.net/", None),
        ("http://news.net/?from=casino.example", None),
        ("http://example.org/", None),
        ("http://news.example/story/?id=7#comments", "blocked page"),
        ("http://news.example/story/?id=8", None),
        ("http://a.example/ROULETTE/rules", "blocked word"),
        ("http://a.example/play_roulette.html", "blocked word"),
        ("http://a.example/r%6Fulette", "blocked word"),
        ("http://a.example/Stra%C3%9Fe", "blocked word"),
        ("http://a.example/roulettes", None),
        ("http://a.example/free-software", None),
        ("http://a.example/free/FREE/free", None),
        ("http://a.example/Free-Bonus", "two doubtful words"),
        ("http://free.example/हिन्दी", "two doubtful words"),
        ("http://bestPILLSHOP24.example/", "blocked part of a word"),
        ("http://a.example/my-pills/hop", "blocked part of a word"),
        ("http://a.example/pill-box-shop", None),
        ("http://[bad/", None),
        ("", None),
    ],
)
def test_lists(lists: UrlFilter, url: str, reason: str | None) -> None:
    assert lists.rejection(url) == (f"url: {reason}" if reason else None)


def test_no_lists_block_nothing() -> None:
    assert UrlFilter(UrlConfig()).rejection("http://casino.example/roulette") is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("domains", "good.example\nhttp://bad.example/page\n", ":2: 'http://bad.example/page' is no domain"),
        ("words", "two words\n", ":1: 'two words' is no single word"),
        ("substrings", "---\n", ":1: '---' is no run of letters"),
    ],
)
def test_an_entry_that_could_never_match_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=message):
        UrlFilter(UrlConfig(**{name: path}))


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.txt: No such file"):
        UrlFilter(UrlConfig(words=tmp_path / "none.txt"))


SAME = [
    ("http://example.org/a", "https://www.Example.ORG:443/a/"),
    ("http://example.org", "example.org/"),
    ("http://example.org:80/a", "//example.org/a#part"),
    ("http://example.org/a?b=2&a=1", "http://example.org/a?a=1&b=2&utm_source=mail&UTM_Medium=x&fbclid=123"),
    ("http://example.org/a?", "http://example.org/a;jsessionid=0F3A?PHPSESSID=77"),
    ("http://example.org/~user/a-b", "http://example.org/%7Euser/a%2db"),
    ("http://example.org/%c3%a9", "http://example.org/%C3%A9"),
    ("http://someone@example.org/", "http://example.org/"),
    ("http://bücher.example/", "http://xn--bcher-kva.example"),
]
OTHER = [
    ("http://example.org/a", "http://example.org/A"),
    ("http://example.org/a", "http://example.org:8080/a"),
    ("http://example.org:443/a", "https://example.org/a"),
    ("http://example.org/a", "ftp://example.org/a"),
    ("http://example.org/?id=1", "http://example.org/?id=2"),
    ("http://example.org/?a=1&a=2", "http://example.org/?a=2&a=1"),
    ("http://example.org/a%2Fb", "http://example.org/a/b"),
    ("http://news.example.org/", "http://example.org/"),
    ("http://www.com/", "http://com/"),
    ("http://example.org/?utm=1", "http://example.org/"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_page(one: str, other: str) -> None:
    assert url_key(one) == url_key(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_two_pages(one: str, other: str) -> None:
    assert url_key(one) != url_key(other)


def test_the_key_of_a_key_is_itself() -> None:
    for pair in SAME + OTHER:
        for url in pair:
            assert url_key(url_key(url)) == url_key(url)
