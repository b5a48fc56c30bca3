"""The main text of pages."""

from __future__ import annotations

import pytest

from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.html import read_html

PROSE = "The river carries sand and stones through the valley, and in spring the water rises. " * 3


def text_of(body: str) -> str:
    found = read_html(f"<html><head><title> A  title </title></head><body>{body}</body></html>", "page.html")
    assert isinstance(found, Found)
    assert found.meta == {"path": "page.html", "title": "A title"}
    return found.text


@pytest.mark.parametrize(
    "boilerplate",
    [
        "<nav>GONE</nav>",
        "<footer>GONE</footer>",
        "<aside>GONE</aside>",
        "<div role='navigation'>GONE</div>",
        "<div class='cookie-banner'>GONE</div>",
        "<div id='sidebar'>GONE</div>",
        "<div hidden>GONE</div>",
        "<p aria-hidden='true'>GONE</p>",
        "<script>GONE</script>",
        "<img src='logo.png' alt='GONE'>",
        "<style>GONE {}</style>",
        "<ul><li><a href='1'>GONE</a></li><li><a href='2'>GONE</a></li><li><a href='3'>GONE</a></li></ul>",
        "<div class='related'><h3>GONE</h3><a href='1'>GONE</a></div>",
    ],
)
def test_boilerplate_is_removed(boilerplate: str) -> None:
    assert text_of(f"{boilerplate}<p>{PROSE}</p>{boilerplate}") == PROSE.strip()


def test_structure_is_kept() -> None:
    text = text_of(
        f"<main><h1>Rivers</h1><p>{PROSE}</p><ul><li>first <a href='x'>one</a></li><li>second</li></ul>"
        "<pre>def f(x):\n    return x\n</pre>"
        "<figure><pre>let x = 1;</pre><img alt='GONE'><figcaption>Listing 1</figcaption></figure>"
        "<p>河水上涨 &amp; more.</p></main>"
    )
    lines = text.split("\n")
    assert lines[0] == "Rivers"
    assert "  • first one" in lines and "  • second" in lines
    assert "def f(x):\n    return x\n" in text
    assert "let x = 1;" in lines and "Listing 1" in lines and "GONE" not in text
    assert lines[-1] == "河水上涨 & more."


def test_a_wrapper_named_like_boilerplate_is_not_removed() -> None:
    assert text_of(f"<div class='has-sidebar menu'><p>{PROSE}</p></div>") == PROSE.strip()


def test_a_page_without_text_is_skipped() -> None:
    assert read_html("<html><body><nav>Home</nav></body></html>", "a.html") == Skipped(
        "no text in the page", "a.html"
    )
    assert read_html("", "b.html") == Skipped("no text in the page", "b.html")


def test_thousands_of_nested_elements() -> None:
    assert text_of("<div>" * 5000 + "deep" + "</div>" * 5000) == "deep"
