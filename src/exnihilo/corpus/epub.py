"""The text of EPUB books: a zip of XHTML pages, which the book's package file puts in order."""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote
from xml.parsers import expat

from exnihilo.corpus.bounded import LONGEST
from exnihilo.corpus.detection import decode_any
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.html import read_html, stated_encoding
from exnihilo.corpus.sniff import Format

_CONTAINER = "META-INF/container.xml"
_PAGES = frozenset({"application/xhtml+xml", "text/html"})


def read_epub(data: bytes, name: str) -> Found | Skipped:
    """The pages of a book in the order of its spine, a blank line between them; its title and language in `meta`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            if "META-INF/encryption.xml" in book.namelist() and "META-INF/rights.xml" in book.namelist():
                return Skipped("encrypted", name)
            package = _attributes(_member(book, _CONTAINER), "rootfile")[0]["full-path"]
            texts, meta = _texts(book, package, name)
    # zipfile raises the last two for entries packed or encrypted in ways that it does not know.
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        KeyError,
        IndexError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        return Skipped("not a whole EPUB file", f"{name}: {error}")
    except (expat.ExpatError, ValueError) as error:
        return Skipped("not a whole EPUB file", f"{name}: {error}")
    text = "\n\n".join(texts)
    if not text:
        return Skipped("no text in the file", name)
    return Found(text, Format.EPUB, {"path": name} | meta)


def _texts(book: zipfile.ZipFile, package: str, name: str) -> tuple[list[str], dict[str, str]]:
    described = _member(book, package)
    items = {
        item["id"]: posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(item["href"])))
        for item in _attributes(described, "item")
        if item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
    }
    spine = [item for item in _attributes(described, "itemref") if item.get("linear") != "no"]
    texts = []
    left = LONGEST
    for item in spine:
        path = items.get(item["idref"])
        if path is None:
            continue
        page = _member(book, path, left)
        left -= len(page)
        decoded = decode_any(page, f"{name}/{path}", stated_encoding(page))
        found = decoded if isinstance(decoded, Skipped) else read_html(decoded.text, name)
        if isinstance(found, Found):
            texts.append(found.text)
    wanted = {"dc:title": "title", "dc:language": "language"}
    return texts, {key: text for key, text in _contents(described, wanted) if text.isprintable()}


def _member(book: zipfile.ZipFile, path: str, limit: int | None = None) -> bytes:
    with book.open(path) as stream:
        limit = LONGEST if limit is None else limit
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"its text has more than {LONGEST >> 20} MiB")
    return data


def _attributes(xml: bytes, tag: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def start(name: str, attributes: dict[str, Any]) -> None:
        if name.rpartition(":")[2] == tag:
            found.append(attributes)

    parser = _parser()
    parser.StartElementHandler = start
    parser.Parse(xml, True)
    return found


def _contents(xml: bytes, tags: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The first text of each of some elements."""
    held: dict[str, list[str]] = {}
    open_tag: list[str] = []

    def start(name: str, attributes: dict[str, Any]) -> None:
        if name in tags and name not in held:
            held[name] = []
            open_tag.append(name)

    def end(name: str) -> None:
        if open_tag and open_tag[-1] == name:
            open_tag.pop()

    def text(data: str) -> None:
        if open_tag:
            held[open_tag[-1]].append(data)

    parser = _parser()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.Parse(xml, True)
    for tag, pieces in held.items():
        joined = " ".join("".join(pieces).split())
        if joined:
            yield tags[tag], joined


def _parser() -> Any:
    def refuse(*_: object) -> None:
        raise ValueError("it declares XML entities")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    return parser
