"""Web archives: pages and texts, with their place and date."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from exnihilo.corpus import warc
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file

PROSE = "Der Fluß führt Sand und Steine durch das Tal, und im Frühjahr steigt das Wasser über die Ufer. " + (
    "Größere Städte schützen sich mit Dämmen."
)


def record(kind: str, url: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{abs(hash(url)) % 10**12:012d}>\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def response(url: str, body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers]) + "\r\n\r\n"
    return record("response", url, "application/http; msgtype=response", head.encode() + body)


def page(text: str, meta: str = "") -> str:
    return f"<html><head>{meta}<title>Sand</title></head><body><nav>Home</nav><p>{text}</p></body></html>"


def read(tmp_path: Path, *records: bytes, name: str = "a.warc.gz") -> list[Found | Skipped]:
    # A member of gzip for each record, as crawlers write them.
    data = b"".join(map(gzip.compress, records)) if name.endswith(".gz") else b"".join(records)
    (tmp_path / name).write_bytes(data)
    return list(read_file(tmp_path / name, name))


HTML = "Content-Type: text/html"


def test_pages_with_place_date_and_main_text(tmp_path: Path) -> None:
    info = record("warcinfo", "", "application/warc-fields", b"software: crawler\r\n")
    request = record(
        "request", "http://a.de/1", "application/http; msgtype=request", b"GET / HTTP/1.1\r\n\r\n"
    )
    good = response("http://a.de/1", page(PROSE).encode(), HTML + "; charset=utf-8")
    for name in ("a.warc.gz", "a.warc"):
        (found,) = read(tmp_path, info, request, good, name=name)
        assert isinstance(found, Found)
        assert (found.text, found.kind, found.index) == (PROSE, "WARC", 1)
        assert found.meta == {
            "path": name,
            "row": 1,
            "title": "Sand",
            "url": "http://a.de/1",
            "date": "2024-05-06T07:08:09+00:00",
            "content_type": "text/html",
            "status": 200,
        }


def test_what_is_no_page_is_told(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        response("http://a.de/gone", page(PROSE).encode(), HTML, status="404 Not Found"),
        response("http://a.de/moved", b"", HTML, "Location: /", status="301 Moved"),
        response("http://a.de/x.png", b"\x89PNG", "Content-Type: image/png"),
        response("http://a.de/robots.txt", b"User-agent: *", "Content-Type: text/plain"),
        response("http://a.de/menu", b"<html><body><nav>Home</nav></body></html>", HTML),
    )
    assert [one.reason if isinstance(one, Skipped) else one.text for one in found] == [
        "HTTP status is not 200",
        "HTTP status is not 200",
        "neither page nor text",
        "User-agent: *",
        "no text in the page",
    ]
    assert found[0] == Skipped("HTTP status is not 200", "a.warc.gz:1 http://a.de/gone: 404")


def test_charset_from_header_then_meta_then_detection(tmp_path: Path) -> None:
    meta = '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">'
    found = read(
        tmp_path,
        response("http://a.de/header", page(PROSE).encode("cp1252"), HTML + "; charset=ISO-8859-1"),
        response("http://a.de/meta", page(PROSE, meta).encode("cp1252"), HTML),
        response("http://a.de/none", page(PROSE).encode("cp1252"), HTML),
        # Headers that lie: UTF-8 that says it is Latin-1, and Latin-1 that says it is UTF-8.
        response("http://a.de/lie", page(PROSE).encode(), HTML + "; charset=ISO-8859-1"),
        response("http://a.de/lie", page(PROSE).encode("cp1252"), HTML + "; charset=utf-8"),
        response("http://a.de/wrong", page("caf\xe9").encode("latin-1"), HTML + "; charset=utf-8"),
    )
    assert [one.text for one in found if isinstance(one, Found)] == [PROSE] * 5
    assert [one.encoding for one in found if isinstance(one, Found)] == ["cp1252"] * 3 + ["utf-8", "cp1252"]
    assert isinstance(found[5], Skipped) and found[5].reason == "not UTF-8"


def test_chunked_and_compressed_bodies(tmp_path: Path) -> None:
    body = page(PROSE).encode()
    chunked = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (50, body[:50], len(body) - 50, body[50:])
    found = read(
        tmp_path,
        response("http://a.de/1", chunked, HTML, "Transfer-Encoding: chunked"),
        response("http://a.de/2", gzip.compress(body), HTML, "Content-Encoding: gzip"),
    )
    assert [one.text for one in found if isinstance(one, Found)] == [PROSE, PROSE]


def test_texts_of_wet_files(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        record("warcinfo", "", "application/warc-fields", b"software: crawler\r\n"),
        record("conversion", "http://a.de/1", "text/plain", f"Sand\n{PROSE}\n".encode()),
        name="a.warc.wet.gz",
    )
    assert [(one.text, one.kind, one.meta["url"]) for one in found if isinstance(one, Found)] == [
        (f"Sand\n{PROSE}\n", "WET", "http://a.de/1")
    ]


def test_a_damaged_archive_keeps_what_came_before(tmp_path: Path) -> None:
    good = response("http://a.de/1", page(PROSE).encode(), HTML)
    # What was read ahead goes with the record that is cut off: 64 KiB at most.
    (tmp_path / "cut.warc.gz").write_bytes((gzip.compress(good) * 400)[:-40])
    *whole, last = read_file(tmp_path / "cut.warc.gz", "cut.warc.gz")
    assert len(whole) > 200 and all(isinstance(one, Found) for one in whole)
    assert isinstance(last, Skipped) and last.reason == "not a whole gzip file"
    wet = record("conversion", "http://a.de/1", "text/plain", PROSE.encode())
    found = read(tmp_path, wet, wet[:-30], name="cut.wet")
    assert [type(one) for one in found] == [Found, Skipped]
    found = read(tmp_path, good, b"garbage\r\n" * 9, name="bad.warc")
    assert [type(one) for one in found] == [Found, Skipped]
    assert found[1].reason == "not a whole WARC file"  # type: ignore[union-attr]


def test_a_record_that_is_far_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc, "LONGEST", 2000)
    large = response("http://a.de/1", page(PROSE * 99).encode(), HTML)
    small = response("http://a.de/2", page(PROSE).encode(), HTML)
    found = read(tmp_path, large, small)
    assert [one.reason if isinstance(one, Skipped) else one.text for one in found] == ["too large", PROSE]
