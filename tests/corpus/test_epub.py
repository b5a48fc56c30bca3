"""Books: pages in the order of the spine."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from exnihilo.corpus import epub
from exnihilo.corpus.epub import read_epub
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file

CONTAINER = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>Rivers &amp; Sand</dc:title><dc:language>en</dc:language></metadata>
<manifest><item id="b" href="b%20two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/a.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="s" href="s.css" media-type="text/css"/></manifest>
<spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/><itemref idref="n" linear="no"/></spine></package>"""


def book(**changed: str) -> bytes:
    files = {
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": PACKAGE,
        "OEBPS/b two.xhtml": "<html><body><h1>Two</h1><p>The second page.</p></body></html>",
        "OEBPS/text/a.xhtml": "<html><body><h1>One</h1><p>The first page.</p></body></html>",
        "OEBPS/nav.xhtml": "<html><body><p>Contents</p></body></html>",
    } | {name.replace("__", "/").replace("_dot_", "."): text for name, text in changed.items()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def test_pages_in_the_order_of_the_spine(tmp_path: Path) -> None:
    (tmp_path / "a.epub").write_bytes(book())
    (found,) = read_file(tmp_path / "a.epub", "a.epub")
    assert found == Found(
        "One\n\nThe first page.\n\nTwo\n\nThe second page.",
        "EPUB",
        {"path": "a.epub", "title": "Rivers & Sand", "language": "en"},
    )


def test_damaged_books() -> None:
    for data in (
        b"PK\x03\x04 no zip",
        book()[:-40],
        book(**{"META-INF__container_dot_xml": "<container/>"}),
        book(**{"OEBPS__book_dot_opf": PACKAGE[:-30]}),
        book(**{"OEBPS__book_dot_opf": '<!DOCTYPE x [<!ENTITY e "sand">]><package>&e;</package>'}),
        book(**{"META-INF__container_dot_xml": CONTAINER.replace("book.opf", "none.opf")}),
    ):
        found = read_epub(data, "a.epub")
        assert isinstance(found, Skipped) and found.reason == "not a whole EPUB file"
    empty = read_epub(book(**{"OEBPS__book_dot_opf": PACKAGE.replace("itemref", "other")}), "a.epub")
    assert empty == Skipped("no text in the file", "a.epub")


def test_a_bomb_in_a_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epub, "LONGEST", 5000)
    large = book(**{"OEBPS__text__a_dot_xhtml": f"<html><body><p>{'sand ' * 5000}</p></body></html>"})
    found = read_epub(large, "a.epub")
    assert isinstance(found, Skipped) and "more than" in found.example
