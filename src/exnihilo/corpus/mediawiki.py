"""Dumps of MediaWiki sites: their articles as text, one page in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

from exnihilo.corpus.bounded import LONGEST
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.sniff import Format
from exnihilo.corpus.unpack import NotWhole
from exnihilo.corpus.wikitext import plain_text

_BLOCK = 1 << 16
_KEPT = frozenset({"title", "ns", "id", "redirect", "timestamp", "model", "text"})
_FILES, _CATEGORIES = "6", "14"  # numbers of namespaces, the same in every language


class _Pages:
    """Collects pages from the events of the XML parser. Raises ValueError for a document type declaration."""

    def __init__(self) -> None:
        self.language = ""
        self.not_text: set[str] = set()  # names of the namespaces of files and categories
        self.ready: list[dict[str, str]] = []
        self._page: dict[str, str] | None = None
        self._inside = 0  # elements that are open in the page
        self._pieces: list[str] | None = None
        self._length = 0
        self._namespace = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if self._page is not None:
            self._inside += 1
        elif tag == "mediawiki":
            self.language = attributes.get("xml:lang", "")
        elif tag == "page":
            self._page, self._inside = {}, 0
        elif tag == "namespace":
            self._namespace = attributes.get("key", "")
        wanted = tag in _KEPT and self._page is not None and tag not in self._page
        if wanted or (tag == "namespace" and self._namespace in (_FILES, _CATEGORIES)):
            self._pieces, self._length = [attributes.get("title", "") if tag == "redirect" else ""], 0

    def end(self, tag: str) -> None:
        """An element ends."""
        text = "".join(self._pieces) if self._pieces is not None else None
        self._pieces = None
        if tag == "page" and self._page is not None and self._inside == 0:
            self.ready.append(self._page)
            self._page = None
        elif self._page is not None:
            self._inside -= 1
            if text is not None:
                self._page[tag] = text  # the first `id` is the page's, later ones are its revision's
        elif tag == "namespace" and text:
            self.not_text.add(text.lower())

    def characters(self, data: str) -> None:
        """Text of an element; of one that is far too long, the beginning."""
        if self._pieces is not None and self._length <= LONGEST:
            self._pieces.append(data)
            self._length += len(data)

    def refuse(self, *_: object) -> None:
        """A document type declaration, which can hold entities that unfold without end."""
        raise ValueError("it has a document type declaration, which a dump has not")


def read_dump(stream: BinaryIO, name: str) -> Iterator[Found | Skipped]:
    """The articles (namespace 0) of a dump. `meta` has `title`, `page` (its id) and `date` of the revision.

    Redirects and pages of other namespaces are skipped and counted. Of a page with its history the first
    revision is taken. Raises NotWhole where the XML ends too early or is none.
    """
    pages = _Pages()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = pages.start
    parser.EndElementHandler = pages.end
    parser.CharacterDataHandler = pages.characters
    parser.StartDoctypeDeclHandler = pages.refuse
    try:
        while True:
            block = stream.read(_BLOCK)
            parser.Parse(block, not block)
            for page in pages.ready:
                yield _read(page, name, pages)
            pages.ready.clear()
            if not block:
                return
    except (expat.ExpatError, ValueError) as error:
        raise NotWhole("MediaWiki", name, str(error)) from error


def _read(page: dict[str, Any], name: str, pages: _Pages) -> Found | Skipped:
    title = page.get("title", "")
    place = f"{name}: {title}"
    if page.get("ns", "0") != "0":
        return Skipped("not an article", place)
    if "redirect" in page:
        return Skipped("redirect", f"{place} to {page['redirect']}")
    if page.get("model", "wikitext") != "wikitext":
        return Skipped("not an article", f"{place}: {page['model']}")
    if len(page.get("text", "")) > LONGEST:
        return Skipped("too large", f"{place}: more than {LONGEST >> 20} million characters")
    text = plain_text(page.get("text", ""), pages.language, frozenset(pages.not_text))
    if not text:
        return Skipped("empty", place)
    meta = {"path": name, "title": title, "page": page.get("id", ""), "date": page.get("timestamp", "")}
    return Found(text, Format.WIKI, meta, index=page.get("id") or title)
