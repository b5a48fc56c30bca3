"""Files of one JSON object per line."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from exnihilo.core.errors import Refused
from exnihilo.core.files import atomic_stream


def read_jsonl(path: Path | str, *, limit: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (1-based line number, record) of a UTF-8 file, `.gz` or plain, with or without a byte order mark.

    Blank lines are passed over; `limit` counts records. Raises Refused "file:line: …" for a line that is not a
    JSON object, is not UTF-8 or cannot be unpacked.
    """
    path = Path(path)
    number = 0
    taken = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if limit is not None and taken >= limit:
                    return
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                taken += 1
                yield number, _record(line, f"{path}:{number}")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refused(f"{path}:{number + 1}: not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}; give the path of a readable file") from error


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused(f"{where}: not UTF-8 at byte {error.start} of the line; convert the file") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where}: not JSON ({why_not_json(error)}); mend the line") from error
    if not isinstance(record, dict):
        raise Refused(f"{where}: a JSON object is wanted, not {type(record).__name__}; mend the line")
    return record


def why_not_json(error: ValueError | RecursionError) -> str:
    """What `json.loads` found wrong, and at which column, in a few words.

    Beside its own error it raises ValueError for a number of more than 4,300 digits, and RecursionError for
    brackets in brackets by the thousand.
    """
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"


def dumps(record: Mapping[str, Any]) -> str:
    """One record as a line without its newline; letters outside ASCII stay readable.

    Scalars of numpy and torch are written as numbers, NaN and infinities, which JSON has not, as null.
    """
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False, default=_scalar)
    except ValueError:
        return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)


def _scalar(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else _finite(_scalar(value))


def write_jsonl(path: Path | str, records: Iterable[Mapping[str, Any]]) -> int:
    """Write records to `path` whole or not at all (`.gz` is packed); return their number."""
    path = Path(path)
    number = 0
    with atomic_stream(path) as stream, ExitStack() as stack:
        write: Callable[[bytes], object] = stream.write
        if path.suffix == ".gz":
            # No name and mtime 0 in the header: equal records give equal bytes.
            write = stack.enter_context(gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0)).write
        for record in records:
            write((dumps(record) + "\n").encode())
            number += 1
    return number
