"""Web archives: the main text of the pages in WARC files, the texts of WET files, one record in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from fastwarc.warc import ArchiveIterator, WarcRecordType

from exnihilo.corpus.bounded import LONGEST
from exnihilo.corpus.detection import decode_any
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.html import read_html, stated_encoding
from exnihilo.corpus.sniff import Format
from exnihilo.corpus.unpack import NotWhole

_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_TEXTS = frozenset({"text/plain", "text/markdown"})
_OK = 200


class _FrontToBack:
    """A stream as fastwarc reads one, without `seek`, which what is being unpacked does not have."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at


def read_warc(stream: BinaryIO, name: str) -> Iterator[Found | Skipped]:
    """The pages and plain texts that were answered with status 200, and the texts of `conversion` records (WET).

    `meta` has `url`, `date` (ISO 8601), `content_type` and, for pages, `status`; `row` counts the responses and
    conversions of the file. Raises NotWhole where a record is damaged.
    """
    kinds = WarcRecordType.response | WarcRecordType.conversion
    row = 0
    try:
        for record in ArchiveIterator(
            cast(BinaryIO, _FrontToBack(stream)), record_types=kinds, stream_detect=False, auto_decode="all"
        ):
            row += 1
            yield _read(record, name, row)
    except OSError as error:
        raise NotWhole("WARC", name, f"after {row} records: {error}") from error


def _read(record: Any, name: str, row: int) -> Found | Skipped:
    place = f"{name}:{row}"
    url = record.headers.get("WARC-Target-URI", "").strip("<>")
    meta = {"path": name, "row": row, "url": url}
    if record.record_date is not None:
        meta["date"] = record.record_date.isoformat()
    if record.record_type == WarcRecordType.conversion:
        data = record.reader.read(LONGEST + 1)
        if len(data) < record.content_length <= LONGEST:
            raise OSError("the last one is cut off")
        meta["content_type"] = (record.headers.get("Content-Type") or "text/plain").partition(";")[0].strip()
        return _text(data, place, None, Format.WET, meta, row)
    if record.http_headers is None or record.http_headers.status_code is None:
        return Skipped("not an HTTP response", f"{place} {url}")
    if record.http_headers.status_code != _OK:
        return Skipped("HTTP status is not 200", f"{place} {url}: {record.http_headers.status_code}")
    kind = (record.http_content_type or "").lower()
    if kind not in _PAGES | _TEXTS:
        return Skipped("neither page nor text", f"{place} {url}: {kind or 'no content type'}")
    meta |= {"content_type": kind, "status": _OK}
    data = record.reader.read(LONGEST + 1)
    if kind in _TEXTS:
        return _text(data, place, record.http_charset, Format.WARC, meta, row)
    if len(data) > LONGEST:
        return _too_large(place)
    decoded = decode_any(data, place, record.http_charset or stated_encoding(data))
    if isinstance(decoded, Skipped):
        return decoded
    page = read_html(decoded.text, place)
    if isinstance(page, Skipped):
        return page
    # The page's title, and its own place in the file.
    return Found(page.text, Format.WARC, page.meta | meta, index=row, encoding=decoded.encoding)


def _text(
    data: bytes, place: str, stated: str | None, kind: Format, meta: dict[str, Any], row: int
) -> Found | Skipped:
    if len(data) > LONGEST:
        return _too_large(place)
    decoded = decode_any(data, place, stated)
    if isinstance(decoded, Skipped):
        return decoded
    return Found(decoded.text, kind, meta, index=row, encoding=decoded.encoding)


def _too_large(place: str) -> Skipped:
    return Skipped("too large", f"{place}: a record of more than {LONGEST >> 20} MiB")
