"""What a file holds, by its name and then by its first bytes."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import PurePosixPath


class Format(StrEnum):
    """The kinds of file that can be read."""

    TEXT = "text"
    MARKDOWN = "Markdown"
    RESTRUCTURED_TEXT = "reStructuredText"
    SOURCE_CODE = "source code"
    HTML = "HTML"
    JSONL = "JSONL"
    JSON = "JSON"
    PARQUET = "Parquet"


_SUFFIXES: dict[Format | None, str] = {
    Format.TEXT: "txt text log tex",
    Format.MARKDOWN: "md markdown mdx",
    Format.RESTRUCTURED_TEXT: "rst",
    Format.SOURCE_CODE: (
        "py pyi pyx c h cc cpp cxx hpp hh m mm cs java kt kts scala go rs swift js mjs cjs jsx ts tsx php rb"
        " pl pm lua r jl hs ml mli ex exs erl clj cljs lisp el scm sh bash zsh fish ps1 sql css scss vue"
        " svelte dart zig nim f90 f95 asm s v sv vhd proto cmake toml yaml yml ini cfg"
    ),
    Format.HTML: "html htm xhtml",
    Format.JSONL: "jsonl ndjson",
    Format.JSON: "json",
    Format.PARQUET: "parquet",
    # Text in a wrapping for which there is no reader: naming that helps more than "byte 11 is 0xe2".
    None: "pdf doc docx odt rtf epub mobi xls xlsx ods ppt pptx csv tsv xml zip tar tgz 7z rar zst bz2 xz",
}
FORMAT_OF_SUFFIX = {suffix: form for form, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}

GZIP_MAGIC = b"\x1f\x8b"


def suffix_of(name: str) -> str:
    """The suffix that says what a file holds, in lower case without its dot; `.gz` is looked through."""
    path = PurePosixPath(name.lower())
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.removeprefix(".")


def sniff(name: str, head: bytes) -> Format | None:
    """The format of a file called `name` that begins with `head` (unpacked if it was gzipped).

    A known suffix decides; otherwise the content does, and what is nothing else is text. None where it is
    known that there is no reader.
    """
    if head.startswith(b"PAR1"):
        return Format.PARQUET
    suffix = suffix_of(name)
    if suffix in FORMAT_OF_SUFFIX:
        return FORMAT_OF_SUFFIX[suffix]
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:14].lower().startswith((b"<!doctype html", b"<html")):
        return Format.HTML
    return Format.JSONL if _is_json_object(start.partition(b"\n")[0]) else Format.TEXT


def _is_json_object(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:  # not JSON, or not UTF-8
        return False
