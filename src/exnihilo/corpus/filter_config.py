"""Limits of the filters for any text, as a schema."""

from __future__ import annotations

from pydantic import Field

from exnihilo.core.config import Config, Count, why


class FilterConfig(Config):
    """Limits; a text exactly at a limit is kept, and null turns a filter off."""

    min_bytes: Count | None = Field(
        default=24,
        ge=0,
        description="least bytes of UTF-8 without surrounding white space",
        json_schema_extra=why(
            "24: shorter texts are titles and leftovers. Bytes and not words, so that it holds in any script",
            example="200",
        ),
    )
    max_line_length: float | None = Field(
        default=20_000,
        ge=0,
        description="longest mean line, in characters: above it are blobs and tables on one line",
        json_schema_extra=why(
            "20,000 characters on a mean line are minified code, tables and encoded data, never prose; "
            "prose without line ends stays"
        ),
    )
    min_letters: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="least share of letters (of any script) in what is not white space",
        json_schema_extra=why(
            "0.4 leaves room for source code, whose brackets and operators count against it; Gopher, "
            "made for prose, asks that 80 % of words have a letter (arXiv 2112.11446)"
        ),
    )
    max_digits: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="largest share of digits in what is not white space: above it are data tables",
        json_schema_extra=why("0.4: code and prose are far below it, tables of numbers far above"),
    )
    max_hexadecimal: float | None = Field(
        default=0.4,
        ge=0,
        le=1,
        description="largest share of hexadecimal numbers and escapes: above it is generated data",
        json_schema_extra=why("0.4: a text with a key or a hash stays, one that is mostly encoded data goes"),
    )
    max_duplicate_lines: float | None = Field(
        default=0.7,
        ge=0,
        le=1,
        description="largest share of lines that repeat an earlier line of the same text",
        json_schema_extra=why(
            "0.7: above Gopher's 0.3 (arXiv 2112.11446), since source code rightly repeats short lines"
        ),
    )
    max_replacement: float | None = Field(
        default=0.002,
        ge=0,
        le=1,
        description="largest share of U+FFFD, which marks text that was decoded wrongly",
        json_schema_extra=why(
            "0.002: one character in five hundred that could not be decoded means that all of the text "
            "was read in a wrong encoding"
        ),
    )
