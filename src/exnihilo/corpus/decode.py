"""Bytes to text, or the exact place where they are no text."""

from __future__ import annotations

from exnihilo.corpus.findings import Skipped

BOM = "\ufeff"


def decode(data: bytes, name: str) -> str | Skipped:
    """UTF-8 text without its byte order mark, or why `name` is no text and at which byte."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return Skipped(
                "not UTF-8", f"{name}: byte 0 begins a UTF-16 byte order mark; convert it to UTF-8"
            )
        return Skipped("not UTF-8", f"{name}: byte {error.start} is 0x{data[error.start]:02x}")
    if "\0" in text:
        return Skipped("binary", f"{name}: byte {data.index(0)} is 0x00")
    text = text.removeprefix(BOM)
    return text if text.strip() else Skipped("empty", name)
