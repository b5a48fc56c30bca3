"""Files to texts: each is unpacked, told by what it holds, and read by the reader of its format."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from exnihilo.corpus.archives import tar_members, zip_members
from exnihilo.corpus.bounded import LONGEST, WHOLE, parts, whole
from exnihilo.corpus.detection import Decoded, decode_any
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.rows import found_in_records, json_records, jsonl_records, parquet_records
from exnihilo.corpus.sniff import Format, sniff, suffix_of
from exnihilo.corpus.unpack import BLOCK, NotWhole, PackedFile, TooLarge, open_packed, unpack

_ARCHIVES = frozenset({Format.ZIP, Format.TAR})
_PARTED = frozenset({Format.TEXT, Format.MARKDOWN, Format.RESTRUCTURED_TEXT, Format.SOURCE_CODE})
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of which UTF-32's begin with one or with NUL, which is binary


def read_file(path: Path, name: str, text_field: str | None = None) -> Iterator[Found | Skipped]:
    """The texts in a file, which carry `name`, its relative path; what is no text is skipped."""
    try:
        with path.open("rb") as stream:
            yield from read_stream(stream, path.stat().st_size, name, text_field)
    except OSError as error:
        yield Skipped("not readable", f"{name}: {error.strerror or error}")


def read_stream(
    stream: BinaryIO, size: int, name: str, text_field: str | None = None
) -> Iterator[Found | Skipped]:
    """The texts in a file of `size` bytes. What is damaged, cut off or a bomb is told in one line, and ends there."""
    opened, account = open_packed(stream, size)
    try:
        yield from _read(opened, account, name, text_field)
    except TooLarge as error:
        yield Skipped("too large", f"{name}: {error}")


def _read(
    packed: io.BufferedReader, account: PackedFile, name: str, text_field: str | None, *, member: bool = False
) -> Iterator[Found | Skipped]:
    try:
        stream = unpack(packed, name, account)
        head = stream.peek(BLOCK)
        form = sniff(name, head)
        if not head:
            yield Skipped("empty", name)
        elif form is None:
            yield Skipped(f"no reader for .{suffix_of(name)}", name)
        elif form in _ARCHIVES:
            yield from _read_archive(stream, account, name, form, text_field, member=member)
        elif form is Format.PARQUET:
            if member or stream is not packed:
                yield Skipped("packed Parquet", f"{name}: unpack it first (Parquet is compressed inside)")
            else:
                yield from found_in_records(parquet_records(stream, name), name, form, text_field)
        else:
            yield from _read_format(stream, form, name, text_field)
    except NotWhole as error:
        if error.name != name:  # the archive that this is a member of
            raise
        yield Skipped(f"not a whole {error.kind} file", f"{name}: {error}")


def _read_archive(
    stream: io.BufferedReader,
    account: PackedFile,
    name: str,
    form: Format,
    text_field: str | None,
    *,
    member: bool,
) -> Iterator[Found | Skipped]:
    if member:
        yield Skipped("an archive in an archive", f"{name}: unpack it first")
        return
    if form is Format.ZIP and not stream.seekable():
        yield Skipped("a compressed zip", f"{name}: unpack it first")
        return
    inside = zip_members(stream, name, account) if form is Format.ZIP else tar_members(stream, name, account)
    for item in inside:
        if isinstance(item, Skipped):
            yield item
        else:
            yield from _read(item[1], account, item[0], text_field, member=True)


def _read_format(
    stream: io.BufferedReader, form: Format, name: str, text_field: str | None
) -> Iterator[Found | Skipped]:
    if form is Format.JSONL:
        yield from found_in_records(jsonl_records(stream, name), name, form, text_field)
    elif form in (Format.WARC, Format.WET):
        from exnihilo.corpus.warc import read_warc

        yield from read_warc(stream, name)
    elif form is Format.WIKI:
        from exnihilo.corpus.mediawiki import read_dump

        yield from read_dump(stream, name)
    elif form in _PARTED and not stream.peek(2).startswith(_UTF_16_MARKS):
        yield from _read_parts(stream, form, name)
    else:
        data = whole(stream)
        if data is None:
            yield Skipped("too large", f"{name}: more than {WHOLE >> 20} MiB to be read at once; split it")
        else:
            yield from _read_whole(data, form, name, text_field)


def _read_parts(stream: io.BufferedReader, form: Format, name: str) -> Iterator[Found | Skipped]:
    for number, data in enumerate(parts(stream)):
        meta: dict[str, Any] = {"path": name} | ({"part": number + 1} if number else {})
        if data is None:
            yield Skipped("line too long", f"{name}: a line of more than {LONGEST >> 20} MiB")
        else:
            yield _found(decode_any(data, name), form, meta, number)


def _read_whole(data: bytes, form: Format, name: str, text_field: str | None) -> Iterator[Found | Skipped]:
    if form is Format.PDF:
        from exnihilo.corpus.pdf import read_pdf

        yield read_pdf(data, name)
        return
    if form is Format.EPUB:
        from exnihilo.corpus.epub import read_epub

        yield read_epub(data, name)
        return
    stated = None
    if form is Format.HTML:
        from exnihilo.corpus.html import read_html, stated_encoding

        stated = stated_encoding(data)
    decoded = decode_any(data, name, stated)
    if isinstance(decoded, Skipped):
        yield decoded
    elif form is Format.JSON:
        yield from found_in_records(json_records(decoded.text, name), name, form, text_field)
    elif form is Format.HTML:
        yield _in_encoding(read_html(decoded.text, name), decoded)
    elif form is Format.LATEX:
        from exnihilo.corpus.latex import read_latex

        yield _in_encoding(read_latex(decoded.text, name), decoded)
    else:
        yield _found(decoded, form, {"path": name}, 0)


def _in_encoding(found: Found | Skipped, decoded: Decoded) -> Found | Skipped:
    return replace(found, encoding=decoded.encoding) if isinstance(found, Found) else found


def _found(decoded: Decoded | Skipped, form: Format, meta: dict[str, Any], index: int) -> Found | Skipped:
    if isinstance(decoded, Skipped):
        return decoded
    return Found(decoded.text, form, meta, index, encoding=decoded.encoding)
