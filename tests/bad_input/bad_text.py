"""Text that cannot be collected or used: by its bytes, its format or its rows."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bad_case import Case, cut, rows

MINE = "collect --from.path mine"
GOOD = rows({"text": "A line that can be read."})


@contextmanager
def without(module: str) -> Iterator[None]:
    """An installation without an optional library."""
    before = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[module]
        else:
            sys.modules[module] = before


def parquet(path: str, column: str = "text") -> None:
    """A Parquet file of two rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    Path(path).parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({column: ["A line.", "Another line."]}), path)


def cut_parquet() -> None:
    parquet("mine/a.parquet")
    cut("mine/a.parquet")


def numbers_only() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    Path("mine").mkdir()
    pq.write_table(pa.table({"number": [1, 2]}), "mine/a.parquet")


def broken_link() -> None:
    Path("mine").mkdir()
    Path("mine/a.txt").symlink_to("gone.txt")


def pipe() -> None:
    Path("mine").mkdir()
    os.mkfifo("mine/pipe")


CASES = [
    Case(
        "A folder that is not there",
        MINE,
        2,
        "error: mine: no such file or folder; give the path of a file, a folder or a glob",
    ),
    Case(
        "An empty folder",
        MINE,
        3,
        "error: mine: nothing was collected; give texts that can be read",
        make=lambda: Path("mine").mkdir(),
        process=True,
    ),
    Case(
        "An empty file",
        MINE,
        3,
        "error: mine: nothing was collected; skipped 1: empty (a.txt); give texts that can be read",
        {"mine/a.txt": ""},
    ),
    Case(
        "A file of spaces",
        MINE,
        3,
        "error: mine: nothing was collected; skipped 1: empty (a.txt); give texts that can be read",
        {"mine/a.txt": " \n\n\t"},
    ),
    Case(
        "A binary file",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not UTF-8 (photo: byte 0 is 0x89); give texts "
            "that can be read"
        ),
        {"mine/photo": b"\x89PNG\r\n\x1a\n\0\0"},
    ),
    Case(
        "Text with a NUL byte",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: binary (a.txt: byte 3 is 0x00); give texts that "
            "can be read"
        ),
        {"mine/a.txt": "one\0two"},
    ),
    Case(
        "Text that is cut off in UTF-16",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not in the encoding it states (a.txt: no utf-16 "
            "at byte 6); give texts that can be read"
        ),
        {"mine/a.txt": "Où?".encode("utf-16")[:-1]},
    ),
    Case(
        "Text in Latin-1",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not UTF-8 (a.txt: byte 1 is 0xf9); give texts "
            "that can be read"
        ),
        {"mine/a.txt": "Où est le café?".encode("latin-1")},
    ),
    Case(
        "Text cut inside a character",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not UTF-8 (a.txt: byte 3 is 0xc3); give texts "
            "that can be read"
        ),
        {"mine/a.txt": "café".encode()[:-1]},
    ),
    Case(
        "A format that is not read",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: no reader for .docx (a.docx); give texts that can "
            "be read"
        ),
        {"mine/a.docx": b"PK"},
    ),
    Case(
        "A broken link",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not a regular file (a.txt); give texts that can "
            "be read"
        ),
        make=broken_link,
    ),
    Case(
        "A pipe",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not a regular file (pipe); give texts that can "
            "be read"
        ),
        make=pipe,
    ),
    Case(
        "A pattern that fits no file",
        "collect --from.path 'texts/*.md'",
        3,
        "error: texts/*.md: nothing was collected; give texts that can be read",
    ),
    Case(
        "A packed file that is cut off",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not a whole gzip file (a.txt.gz: …); give texts "
            "that can be read"
        ),
        {"mine/a.txt.gz": gzip.compress(b"A line to read. " * 99, mtime=0)[:-9]},
    ),
    Case(
        "A packed file that is none",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not a whole gzip file (a.txt.gz: …); give texts "
            "that can be read"
        ),
        {"mine/a.txt.gz": b"\x1f\x8b" + b"no gzip at all" * 9},
    ),
    Case(
        "A page without text",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: no text in the page (a.html); give texts that "
            "can be read"
        ),
        {"mine/a.html": "<html><body><nav>Home</nav></body></html>"},
    ),
    Case(
        "Rows that are no JSON",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 3: bad row (a.jsonl:1: not JSON (…, column 18); "
            "a.jsonl:2: a list, not an object; a.jsonl:3: a str, not an object); give texts that can be read"
        ),
        {"mine/a.jsonl": '{"text": "cut off\n[1]\n"text"\n'},
    ),
    Case(
        "Rows without text",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 2: no text field (a.jsonl:1: no field holds a "
            "string; a.jsonl:2: no field holds a string); give texts that can be read"
        ),
        {"mine/a.jsonl": rows({"n": 1}, {"n": 2})},
    ),
    Case(
        "Rows without the field that is named",
        f"{MINE} --text_field body",
        3,
        (
            "error: mine: nothing was collected; skipped 1: no text field (a.jsonl:1: no field 'body'); give "
            "texts that can be read"
        ),
        {"mine/a.jsonl": GOOD},
    ),
    Case(
        "JSON with a comma too many",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not JSON (a.json:2: …, column 17); give texts "
            "that can be read"
        ),
        {"mine/a.json": '[{"text": "one"},\n {"text": "two",}]'},
    ),
    Case(
        "Half of a surrogate pair",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: bad row (a.jsonl:1: half of a surrogate pair, "
            "which is no character); give texts that can be read"
        ),
        {"mine/a.jsonl": '{"text": "A heart: \\ud83d"}\n'},
    ),
    Case(
        "A number with too many digits in a row",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: bad row (a.jsonl:1: not JSON (a number with too "
            "many digits)); give texts that can be read"
        ),
        {"mine/a.jsonl": '{"text": ' + "1" * 5000 + "}\n"},
    ),
    Case(
        "A row nested too deeply",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: bad row (a.jsonl:1: not JSON (nested too "
            "deeply)); give texts that can be read"
        ),
        {"mine/a.jsonl": '{"text": ' + "[" * 100000 + "}\n"},
    ),
    Case(
        "A Parquet file that is cut off",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 1: not a whole Parquet file (a.parquet: …); give "
            "texts that can be read"
        ),
        make=cut_parquet,
    ),
    Case(
        "A Parquet file without text",
        MINE,
        3,
        (
            "error: mine: nothing was collected; skipped 2: no text field (a.parquet:1: no field holds a "
            "string; a.parquet:2: no field holds a string); give texts that can be read"
        ),
        make=numbers_only,
    ),
    Case(
        "One bad row among good ones",
        MINE,
        0,
        ("took 2 JSONL documents, 48 bytes\nskipped 1: bad row (a.jsonl:2: not JSON (…))"),
        {"mine/a.jsonl": GOOD + "{\n" + GOOD},
    ),
    Case(
        "One bad file among good ones",
        "collect --from.path texts",
        0,
        ("took 20 text documents, 7,050 bytes\nskipped 1: not UTF-8 (a.txt: byte 3 is 0xe9)"),
        {"texts/a.txt": "café".encode("latin-1")},
    ),
    Case(
        "A file whose name is not UTF-8",
        "collect --from.path texts",
        0,
        "took 21 text documents, 7,057 bytes",
        make=lambda: Path(os.fsdecode(b"texts/caf\xe9.txt")).write_text("A line."),
    ),
    Case(
        "A module that Python has not",
        "collect --from.python true --from.modules json,jsn",
        2,
        "error: modules: the standard library has no 'jsn'; did you mean 'json'?",
    ),
    Case(
        "Two sources with one file",
        "collect -c collect.yaml",
        2,
        "error: from: two sources called 'texts' hold a file '00.txt'; name them with `source:`",
        {
            "collect.yaml": "from: [{path: texts}, {path: other/texts}]\n",
            "other/texts/00.txt": "Another line.",
        },
    ),
    Case(
        "A dataset without the extra for it",
        "collect --from.hub someone/something",
        2,
        "error: reading the dataset someone/something needs the extra 'hub': pip install 'exnihilo[hub]'",
        during=lambda: without("huggingface_hub"),
    ),
    Case(
        "A dataset's name that is none",
        "collect --from.hub a/b/c",
        2,
        "error: hub: a/b/c: …; give OWNER/NAME of a dataset that exists",
        environ={"HF_HUB_OFFLINE": "1"},
    ),
]
