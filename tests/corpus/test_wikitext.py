"""Wikitext as plain text, whatever is nested or left open in it."""

from __future__ import annotations

import time

import pytest

from exnihilo.corpus.wikitext import plain_text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a {{x|b {{y|c}} d}} e", "a  e"),
        ("a<ref>source</ref> b<ref name=x /> c<ref name='y'>{{cite|1}}</ref>", "a b c"),
        ("a<!-- hidden [[ {{ -->b", "ab"),
        (
            "[[River]]s carry [[sand|fine sand]] to [[:Category:Sea]]",
            "Rivers carry fine sand to Category:Sea",
        ),
        ("[[File:a.jpg|thumb|a [[river]] in {{x}} spring]]the text", "the text"),
        ("[[Category:Rivers]][[de:Fluss]][[Image:x.png]]text", "text"),
        ("'''bold''' ''slanted'' '''''both''''' it's", "bold slanted both it's"),
        ("see [http://a.org the page], [http://b.org] and http://c.org", "see the page,  and http://c.org"),
        ("{| class=x\n|-\n| cell {{x\n|}}\n| {|\n| inner\n|}\n|}\ntext", "text"),
        ("{{box\n| a = {|\n| 1\n|}\n| b = 2\n}}\ntext", "text"),
        ("* one\n** two\n# three\n: four\n; five", "• one\n• two\n• three\nfour\nfive"),
        ("a<br>b<br />c <span style='x'>d</span> <small>e</small>", "a\nb\nc d e"),
        ("1 &lt; 2 &amp;nbsp; &ndash; 3", "1 < 2 &nbsp; – 3"),
        ("<nowiki>[[x]] {{y}} ''z''</nowiki>", "[[x]] {{y}} ''z''"),
        ("<math>\\frac{{a}}{{b}} [[c]]</math> holds", "$\\frac{{a}}{{b}} [[c]]$ holds"),
        ("<syntaxhighlight lang='py'>x = {{1}}\n# no list</syntaxhighlight>", "x = {{1}}\n# no list"),
        ("__TOC__ text", "text"),
        (
            "it is {{convert|5|km}} long, {{lang|fr|la rivière}}{{snd}}here",
            "it is 5 km long, la rivière – here",
        ),
        ("{{{1|default}}} text", "text"),
        ("", ""),
    ],
)
def test_each_part_of_the_markup(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


def test_headings_stay_and_sections_that_list_sources_go() -> None:
    page = (
        "Intro.\n== Course ==\nText.\n=== Upper ===\nMore.\n== See also ==\n* x\n=== Deeper ===\ny\n"
        "== Tables only ==\n{|\n| x\n|}\n== Use ==\nLast.\n==References==\n<references/>"
    )
    assert plain_text(page) == "Intro.\n\nCourse\n\nText.\n\nUpper\n\nMore.\n\nUse\n\nLast."
    for language, heading in (
        ("de", "Einzelnachweise"),
        ("fr", "Liens externes"),
        ("zh", "参考文献"),
        ("ar", "مراجع"),
    ):
        page = f"Text.\n== {heading} ==\n* list\n"
        assert plain_text(page, language) == "Text."
        assert plain_text(page, "es") == f"Text.\n\n{heading}\n\n• list"


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a {{b\nc [[d]] e", "a b\nc d e"),
        ("a }} b ]] c |} d", "a  b  c |} d"),
        ("a [[b {{c]] d", "a b c d"),
        ("a <ref>b\nc", "a b\nc"),
        ("a <!-- b", "a  b"),
        ("{|\n| x\ntext", "text"),
    ],
)
def test_what_is_left_open_does_not_eat_the_page(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


@pytest.mark.parametrize(
    "piece", ["{{", "[[a|", "{|\n", "<ref>", "<!--", "http://a [", "{{nowrap|", "{{ [[ ", " "]
)
def test_corpus_braces_time_is_linear(piece: str) -> None:
    def seconds(count: int) -> float:
        page = piece * count + "text" + "}}" * (count if "{{" in piece else 0)
        start = time.process_time()
        plain_text(page)
        return time.process_time() - start

    assert seconds(100_000) < 3
