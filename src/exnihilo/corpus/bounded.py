"""Reading in bounded memory: lines and parts of a stream that may hold a line of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

LONGEST = 64 << 20
"""Bytes of the longest line of JSONL and of the largest single document of plain text."""
WHOLE = 256 << 20
"""Bytes of the largest file of a format that can only be read whole: JSON, HTML, PDF …"""

_DRAIN = 1 << 20


def lines(stream: BinaryIO, limit: int = LONGEST) -> Iterator[bytes | None]:
    """The lines of a stream, with their line ends; None for one of more than `limit` bytes, which is passed over."""
    while line := stream.readline(limit + 1):
        if len(line) <= limit:
            yield line
        else:
            if not line.endswith(b"\n"):
                _pass_line(stream)
            yield None


def parts(stream: BinaryIO, limit: int = LONGEST) -> Iterator[bytes | None]:
    """A stream in parts of at most `limit` bytes that end where a paragraph does, or else a line.

    None stands for a line of more than `limit` bytes, which is passed over.
    """
    held = b""
    while True:
        held += stream.read(limit + 1 - len(held))
        if len(held) <= limit:
            if held:
                yield held
            return
        cut = held.rfind(b"\n\n", limit // 2, limit) + 1 or held.rfind(b"\n", 0, limit)
        if cut >= 0:
            yield held[: cut + 1]
            held = held[cut + 1 :]
        else:
            if not held.endswith(b"\n"):
                _pass_line(stream)
            yield None
            held = b""


def whole(stream: BinaryIO, limit: int = WHOLE) -> bytes | None:
    """All of a stream, or None if it holds more than `limit` bytes."""
    data = stream.read(limit + 1)
    return data if len(data) <= limit else None


def _pass_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(_DRAIN)) and not rest.endswith(b"\n"):
        pass
