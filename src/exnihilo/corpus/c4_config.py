"""Limits of C4's rules (arXiv 1910.10683, section 2.2), as a schema."""

from __future__ import annotations

from pydantic import Field

from exnihilo.core.config import Config, why


class C4Limits(Config):
    """What C4 asks of lines and texts; null or false turns a rule off."""

    finished_lines: bool = Field(
        True,
        description="take out lines that do not end with . ? ! or a quotation mark, or that end with three dots",
        json_schema_extra=why(
            "true, as C4 has it; FineWeb leaves this one rule out, since it takes three tenths of all text",
            example="false",
        ),
    )
    min_words: int | None = Field(
        3,
        ge=0,
        description="take out lines of fewer words",
        json_schema_extra=why("3, as C4 has it: shorter lines are labels and buttons", example="5"),
    )
    max_word: int | None = Field(
        1000,
        ge=1,
        description="take out lines with a longer word, in characters",
        json_schema_extra=why("1,000, as C4 has it: longer ones are encoded data, not words", example="200"),
    )
    min_sentences: int | None = Field(
        5,
        ge=0,
        description="least sentences in the lines that are left",
        json_schema_extra=why(
            "5, as C4 has it; FineWeb keeps it; null for short texts such as reviews", example="3"
        ),
    )
    lines_without: list[str] = Field(
        [
            "javascript",
            "terms of use",
            "privacy policy",
            "cookie policy",
            "uses cookies",
            "use of cookies",
            "use cookies",
        ],
        description="take out lines that hold one of these, in either case",
        json_schema_extra=why(
            "C4's: what pages say of scripts, cookies and their policies, not of their subject",
            example="javascript,newsletter",
        ),
    )
    texts_without: list[str] = Field(
        ["lorem ipsum", "{"],
        description="reject texts that hold one of these in a line that is left, in either case",
        json_schema_extra=why(
            "C4's: filler text, and the bracket of source code that is no part of prose; leave the bracket out"
            " where code is wanted",
            example="undefined",
        ),
    )
    citations: bool = Field(
        True,
        description="take out marks such as [3], [edit] and [citation needed]",
        json_schema_extra=why("true, as C4 has it: they point at what a text does not hold", example="false"),
    )
