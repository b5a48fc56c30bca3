"""Limits of FineWeb's own rules (arXiv 2406.17557, section 3.6), as a schema."""

from __future__ import annotations

from pydantic import Field

from exnihilo.core.config import Config, why


class FineWebLimits(Config):
    """FineWeb's limits, as its code has them; null turns a rule off."""

    min_finished_lines: float | None = Field(
        0.12,
        ge=0,
        le=1,
        description="least share of lines that end with a mark that ends a sentence",
        json_schema_extra=why(
            "0.12, in the paper and in the code: below it are lists and tables", example="0.3"
        ),
    )
    max_short_lines: float | None = Field(
        0.67,
        ge=0,
        le=1,
        description="largest share of lines of at most `short_line` characters",
        json_schema_extra=why(
            "0.67, in the paper and in the code: above it are menus and poems", example="0.9"
        ),
    )
    short_line: int = Field(
        30,
        ge=1,
        description="characters up to which a line is short",
        json_schema_extra=why(
            "30, in the paper and in the code; in Chinese 30 are a long line", example="12"
        ),
    )
    max_repeated_characters: float | None = Field(
        0.01,
        ge=0,
        le=1,
        description="largest share of characters in lines that stand before in the text",
        json_schema_extra=why(
            "0.01, as the code has it that made the dataset; the paper says 0.1, which keeps more",
            example="0.1",
        ),
    )
    max_line_feeds: float | None = Field(
        0.3,
        ge=0,
        description="most line feeds for each word",
        json_schema_extra=why("0.3, as the code has it; the paper does not name this rule", example="0.5"),
    )
