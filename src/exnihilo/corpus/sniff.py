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
    LATEX = "LaTeX"
    SOURCE_CODE = "source code"
    HTML = "HTML"
    JSONL = "JSONL"
    JSON = "JSON"
    PARQUET = "Parquet"
    WARC = "WARC"
    WET = "WET"
    WIKI = "MediaWiki"
    PDF = "PDF"
    EPUB = "EPUB"
    ZIP = "zip"
    TAR = "tar"


_SUFFIXES: dict[Format | None, str] = {
    Format.TEXT: "txt text log",
    Format.MARKDOWN: "md markdown mdx",
    Format.RESTRUCTURED_TEXT: "rst",
    Format.LATEX: "tex latex ltx",
    Format.SOURCE_CODE: (
        "py pyi pyx c h cc cpp cxx hpp hh m mm cs java kt kts scala go rs swift js mjs cjs jsx ts tsx php rb"
        " pl pm lua r jl hs ml mli ex exs erl clj cljs lisp el scm sh bash zsh fish ps1 sql css scss vue"
        " svelte dart zig nim f90 f95 asm s v sv vhd proto cmake toml yaml yml ini cfg"
    ),
    Format.HTML: "html htm xhtml",
    Format.JSONL: "jsonl ndjson",
    Format.JSON: "json",
    Format.PARQUET: "parquet",
    Format.WARC: "warc",
    Format.WET: "wet",
    Format.PDF: "pdf",
    Format.EPUB: "epub",
    Format.ZIP: "zip",
    Format.TAR: "tar tgz tbz tbz2 txz tzst",
    # Text in a wrapping for which there is no reader: naming that helps more than "byte 11 is 0xe2".
    None: "doc docx odt rtf mobi xls xlsx ods ppt pptx csv tsv xml wat 7z rar",
}
FORMAT_OF_SUFFIX = {suffix: form for form, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")

# What a file begins with that holds one of these, whatever its name is.
_STARTS = {b"PAR1": Format.PARQUET, b"%PDF-": Format.PDF, b"WARC/1.": Format.WARC, b"PK\x03\x04": Format.ZIP}
_TAR_AT = 257  # where the first header of a tar archive says "ustar"


def without_compression(name: str) -> str:
    """A file's name without the suffix of its compression: `a.txt.gz` is `a.txt`."""
    for suffix in COMPRESSIONS:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def suffix_of(name: str) -> str:
    """The suffix that says what a file holds, in lower case without its dot; compression is looked through."""
    return PurePosixPath(without_compression(name.lower())).suffix.removeprefix(".")


def sniff(name: str, head: bytes) -> Format | None:
    """The format of a file called `name` that begins with `head` (unpacked if it was compressed).

    A known suffix decides; otherwise the content does, and what is nothing else is text. None where it is
    known that there is no reader.
    """
    if head.startswith(b"PAR1"):
        return Format.PARQUET
    suffix = suffix_of(name)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    # Dumps of Wikipedia are called `….xml-p1p41242`: their first element says what they are.
    if start.startswith(b"<mediawiki") or (start.startswith(b"<?xml") and b"<mediawiki" in start[:2000]):
        return Format.WIKI
    if suffix in FORMAT_OF_SUFFIX:
        return FORMAT_OF_SUFFIX[suffix]
    for mark, form in _STARTS.items():
        if head.startswith(mark):
            return form
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return Format.TAR
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
