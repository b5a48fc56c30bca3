"""The rows of a file that someone brought: JSON Lines or a JSON array, packed or not."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import why_not_json

_BOM = b"\xef\xbb\xbf"
_HEAD = 1 << 16


@dataclass(frozen=True)
class RawRow:
    """One row and its 1-based line: an object, or why it is none."""

    line: int
    value: dict[str, Any] | None
    problem: str | None = None


def read_rows(path: Path | str) -> Iterator[RawRow]:
    """Every row of a file in UTF-8, with or without byte order mark, `\\n` or `\\r\\n`, gzip by its content.

    A folder is read as an Examples artifact: its `train.jsonl`. Blank lines are passed over. Raises Refused
    for a file that is missing, binary, empty or not whole.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "train.jsonl"
    found = False
    try:
        with _open(path) as stream:
            head = _check_text(stream, path)
        with _open(path) as stream:
            for row in _array(stream, path) if head.startswith(b"[") else _lines(stream):
                found = True
                yield row
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refused(f"{path}: not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}; give the path of a readable file") from error
    if not found:
        raise Refused(f"{path}: no rows; give a file with one JSON object a line")


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    # A GzipFile is an IO[bytes] in all that is used here, though its declared type is not.
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _check_text(stream: IO[bytes], path: Path) -> bytes:
    """The first bytes without mark and space. Raises Refused where they show that this is no UTF-8 text."""
    head = stream.read(_HEAD)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Refused(f"{path}: UTF-16 text; save it as UTF-8")
    if b"\0" in head:
        kind = (
            "a Parquet file" if head.startswith(b"PAR1") else f"a binary file (byte {head.index(0)} is 0x00)"
        )
        raise Refused(f"{path}: {kind}; give JSON Lines")
    return head.removeprefix(_BOM).lstrip()


def _lines(stream: IO[bytes]) -> Iterator[RawRow]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(_BOM)
        if not line.strip():
            continue
        try:
            yield _row(number, json.loads(line.decode("utf-8")))
        except UnicodeDecodeError as error:
            yield RawRow(number, None, f"not UTF-8 (byte {error.start} of the line)")
        except (ValueError, RecursionError) as error:
            yield RawRow(number, None, f"not JSON ({why_not_json(error)})")


def _array(stream: IO[bytes], path: Path) -> Iterator[RawRow]:
    """The elements of one JSON array with the lines they begin on; a syntax error is the last row."""
    try:
        text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    decoder = json.JSONDecoder()
    at, line, counted = _skip(text, text.index("[") + 1), 1, 0
    while text[at : at + 1] != "]":
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else why_not_json(error)
            yield RawRow(line, None, f"not JSON ({reason}); the rest is not read")
            return
        yield _row(line, value)
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            yield RawRow(line, None, "not JSON (no comma after this element); the rest is not read")
            return


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _row(line: int, value: Any) -> RawRow:
    if isinstance(value, dict):
        return RawRow(line, value)
    return RawRow(line, None, f"{json_kind(value)}, not an object")


def json_kind(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"
