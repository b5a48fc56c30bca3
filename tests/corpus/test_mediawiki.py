"""Dumps of MediaWiki sites."""

from __future__ import annotations

import bz2
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="de">
<siteinfo><sitename>Wiki</sitename><namespaces><namespace key="-2">Medium</namespace><namespace key="0" />
<namespace key="6">Datei</namespace><namespace key="14">Kategorie</namespace></namespaces></siteinfo>
"""


def page(
    title: str, text: str, *, number: int = 1, ns: int = 0, redirect: str = "", model: str = "wikitext"
) -> str:
    to = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><id>{number}</id>{to}<revision><id>99</id>"
        f"<timestamp>2024-05-06T07:08:09Z</timestamp><contributor><username>A</username><id>5</id></contributor>"
        f'<model>{model}</model><text xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


def read(
    tmp_path: Path, *pages: str, name: str = "wiki-pages-articles.xml", head: str = HEAD
) -> list[Found | Skipped]:
    data = (head + "".join(pages) + "</mediawiki>\n").encode()
    (tmp_path / name).write_bytes(bz2.compress(data) if name.endswith(".bz2") else data)
    return list(read_file(tmp_path / name, name))


@pytest.mark.parametrize("name", ["wiki.xml", "wiki.xml.bz2", "dewiki-pages-articles1.xml-p1p2.bz2"])
def test_articles_with_titles(tmp_path: Path, name: str) -> None:
    found = read(
        tmp_path,
        page(
            "Fluß",
            "Ein '''Fluß''' führt [[Sand|Sande]] & Steine.\n[[Kategorie:Wasser]]\n[[Datei:a.jpg|mini|Bild]]",
        ),
        page("Fluss", "#WEITERLEITUNG [[Fluß]]", number=2, redirect="Fluß"),
        page("Diskussion:Fluß", "Was meint ihr?", number=3, ns=1),
        page("Vorlage:x", "x", number=4, ns=10),
        page("Modul", "return {}", number=5, model="Scribunto"),
        page("Leer", "{{Begriffsklärung}}", number=6),
        name=name,
    )
    assert found[0] == Found(
        "Ein Fluß führt Sande & Steine.",
        "MediaWiki",
        {"path": name, "title": "Fluß", "page": "1", "date": "2024-05-06T07:08:09Z"},
        index="1",
    )
    assert [one.reason for one in found if isinstance(one, Skipped)] == [
        "redirect",
        "not an article",
        "not an article",
        "not an article",
        "empty",
    ]
    assert found[1] == Skipped("redirect", f"{name}: Fluss to Fluß")


def test_of_a_page_with_its_history_one_revision_is_read(tmp_path: Path) -> None:
    twice = page("A", "first").replace(
        "</page>", "<revision><id>100</id><text>second</text></revision></page>"
    )
    assert [
        one.text for one in read(tmp_path, twice, page("B", "b", number=2)) if isinstance(one, Found)
    ] == ["first", "b"]


def test_a_document_type_is_refused_before_its_entities_unfold(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    head = f'<?xml version="1.0"?><!DOCTYPE mediawiki [<!ENTITY e0 "sand">{entities}]>' + HEAD
    found = read(tmp_path, page("A", "x").replace(">x<", ">&e9;<"), head=head)
    assert found == [
        Skipped(
            "not a whole MediaWiki file",
            "wiki-pages-articles.xml: it has a document type declaration, which a dump has not",
        )
    ]


def test_a_dump_that_is_cut_off_keeps_what_came_before(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(HEAD + page("A", "whole") + page("B", "cut off")[:-60])
    found = list(read_file(tmp_path / "a.xml", "a.xml"))
    assert [type(one) for one in found] == [Found, Skipped]
    assert found[1].reason == "not a whole MediaWiki file"  # type: ignore[union-attr]


def test_other_xml_has_no_reader(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<rss></rss>")
    assert list(read_file(tmp_path / "a.xml", "a.xml")) == [Skipped("no reader for .xml", "a.xml")]
