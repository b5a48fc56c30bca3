"""Texts out of files with many records: JSONL, JSON and Parquet."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from exnihilo.core.jsonl import why_not_json
from exnihilo.corpus.bounded import LONGEST, lines
from exnihilo.corpus.findings import Found, Skipped

Record = tuple[int, dict[str, Any]]  # 1-based line or row, fields

PEEK = 100  # records looked at to find the text field
META_LENGTH = 200  # longer strings beside the text are not labels; they stay behind
TEXT_FIELDS = ("text", "content")

_SURROGATE = re.compile("[\ud800-\udfff]")


def jsonl_records(stream: BinaryIO, name: str) -> Iterator[Record | Skipped]:
    """The records of a JSONL file; a line that is no JSON object in UTF-8 is skipped, the others go on."""
    for number, line in enumerate(lines(stream), start=1):
        if line is None:
            yield Skipped("line too long", f"{name}:{number}: more than {LONGEST >> 20} MiB")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield _record(line, number, name)


def _record(line: bytes, number: int, name: str) -> Record | Skipped:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Skipped("bad row", f"{name}:{number}: not UTF-8 at byte {error.start} of the line")
    except (ValueError, RecursionError) as error:
        return Skipped("bad row", f"{name}:{number}: not JSON ({why_not_json(error)})")
    if not isinstance(value, dict):
        return Skipped("bad row", f"{name}:{number}: a {type(value).__name__}, not an object")
    return number, value


def json_records(text: str, name: str) -> Iterator[Record | Skipped]:
    """The records of a JSON file: a list of objects or strings, one object, or an object that holds a list.

    Many files called `.json` are JSONL: those are read line by line.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            yield Skipped("not JSON", f"{name}:{error.lineno}: {error.msg}, column {error.colno}")
            return
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield _record(line.encode(), number, name)
        return
    except (ValueError, RecursionError) as error:
        yield Skipped("not JSON", f"{name}: {why_not_json(error)}")
        return
    if isinstance(value, dict):
        lists = [
            held for held in value.values() if isinstance(held, list) and held and isinstance(held[0], dict)
        ]
        value = (
            lists[0] if len(lists) == 1 and not _text_lengths([value]).keys() & set(TEXT_FIELDS) else [value]
        )
    for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
        if isinstance(row, str):
            row = {TEXT_FIELDS[0]: row}
        if isinstance(row, dict):
            yield number, row
        else:
            yield Skipped(
                "bad row", f"{name}: item {number} is a {type(row).__name__}, not an object or a string"
            )


def parquet_records(stream: BinaryIO, name: str) -> Iterator[Record | Skipped]:
    """The rows of a Parquet file, without its nested columns; a batch of rows in memory at a time."""
    try:
        with pq.ParquetFile(stream) as file:
            columns = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
            number = 0
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowInvalid, OSError) as error:
        yield Skipped("not a whole Parquet file", f"{name}: {str(error).splitlines()[0]}")


def found_in_records(
    records: Iterable[Record | Skipped], name: str, kind: str, text_field: str | None
) -> Iterator[Found | Skipped]:
    """The text of each record, its short plain fields as meta.

    Without `text_field` it is `text`, else `content`, else the field with the most text in the first records
    of this file. So the choice depends on nothing but the file.
    """
    records = iter(records)
    peeked = list(itertools.islice(records, PEEK))
    field = text_field or choose_field([item[1] for item in peeked if not isinstance(item, Skipped)])
    for item in itertools.chain(peeked, records):
        if isinstance(item, Skipped):
            yield item
        elif field is None:
            yield Skipped("no text field", f"{name}:{item[0]}: no field holds a string")
        else:
            yield _found(item, field, name, kind)


def choose_field(records: list[dict[str, Any]]) -> str | None:
    """`text`, else `content`, else the field with the most characters of text, else None."""
    lengths = _text_lengths(records)
    for field in TEXT_FIELDS:
        if field in lengths:
            return field
    return min(lengths, key=lambda field: (-lengths[field], field), default=None)


def _text_lengths(records: list[dict[str, Any]]) -> Counter[str]:
    lengths: Counter[str] = Counter()
    for record in records:
        lengths.update({field: len(value) for field, value in record.items() if isinstance(value, str)})
    return lengths


def _found(record: Record, field: str, name: str, kind: str) -> Found | Skipped:
    number, fields = record
    if field not in fields:
        return Skipped("no text field", f"{name}:{number}: no field '{field}'")
    text = fields[field]
    if not isinstance(text, str):
        return Skipped("no text field", f"{name}:{number}: field '{field}' is {type(text).__name__}")
    if not text.strip():
        return Skipped("empty", f"{name}:{number}")
    if _SURROGATE.search(text):
        return Skipped("bad row", f"{name}:{number}: half of a surrogate pair, which is no character")
    licence = fields.get("licence") or fields.get("license")
    meta = {key: value for key, value in fields.items() if key != field and _is_label(value)}
    return Found(
        text,
        kind,
        meta | {"path": name, "row": number},
        index=number,
        licence=licence if isinstance(licence, str) else None,
    )


def _is_label(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= META_LENGTH and value.isprintable()
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
