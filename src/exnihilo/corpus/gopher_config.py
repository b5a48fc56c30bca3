"""Limits of Gopher's rules (arXiv 2112.11446, Table A1), as a schema."""

from __future__ import annotations

from pydantic import Field

from exnihilo.core.config import Config, why


class QualityLimits(Config):
    """Limits of quality; a text exactly at a limit is kept, and null turns a rule off."""

    min_words: int | None = Field(
        50,
        ge=0,
        description="least words, punctuation marks not counted",
        json_schema_extra=why(
            "50, as Gopher has it: shorter pages are menus, captions and notices", example="20"
        ),
    )
    max_words: int | None = Field(
        100_000,
        ge=0,
        description="most words, punctuation marks not counted",
        json_schema_extra=why(
            "100,000, as Gopher has it: what is longer on the web is mostly lists and logs; null for books",
            example="1000000",
        ),
    )
    min_mean_word: float | None = Field(
        3,
        ge=0,
        description="least mean length of a word, in characters",
        json_schema_extra=why("3, as Gopher has it for English; a Chinese word has two", example="1"),
    )
    max_mean_word: float | None = Field(
        10,
        ge=0,
        description="largest mean length of a word, in characters",
        json_schema_extra=why("10, as Gopher has it for English; Finnish and German need more", example="14"),
    )
    max_hashes: float | None = Field(
        0.1,
        ge=0,
        description="most hash signs for each word",
        json_schema_extra=why("0.1, as Gopher has it: above it are lists of tags", example="0.3"),
    )
    max_ellipses: float | None = Field(
        0.1,
        ge=0,
        description="most ellipses (three dots or the sign) for each word",
        json_schema_extra=why("0.1, as Gopher has it: above it are teasers of other pages", example="0.3"),
    )
    max_bullet_lines: float | None = Field(
        0.9,
        ge=0,
        le=1,
        description="largest share of lines that begin with • or -",
        json_schema_extra=why("0.9, as Gopher has it: above it is nothing but a list", example="0.5"),
    )
    max_ellipsis_lines: float | None = Field(
        0.3,
        ge=0,
        le=1,
        description="largest share of lines that end with an ellipsis",
        json_schema_extra=why(
            "0.3, as Gopher has it: above it are the first lines of many articles", example="0.5"
        ),
    )
    min_alphabetic_words: float | None = Field(
        0.8,
        ge=0,
        le=1,
        description="least share of words, punctuation marks among them, that have a letter",
        json_schema_extra=why(
            "0.8, as Gopher has it, and strict: prose that is full of quotes and numbers is below it. 0.6 keeps"
            " nearly all prose",
            example="0.6",
        ),
    )
    min_stop_words: int | None = Field(
        2,
        ge=0,
        description="least number of different stop words, in either case",
        json_schema_extra=why(
            "2, as Gopher has it: a text without them is no prose of that language", example="1"
        ),
    )
    stop_words: list[str] = Field(
        ["the", "be", "to", "of", "and", "that", "have", "with"],
        description="words that nearly every text of the language has",
        json_schema_extra=why(
            "Gopher's eight English ones; `language` puts those of another language in their place",
            example="der,die,und,in,zu,den,das,nicht",
        ),
    )


class RepetitionLimits(Config):
    """Limits of repetition; a text exactly at a limit is kept."""

    duplicate_paragraphs: float = Field(
        0.3,
        ge=0,
        le=1,
        description="largest share of paragraphs that repeat an earlier one",
        json_schema_extra=why("0.3, as Gopher has it for lines and paragraphs alike", example="0.5"),
    )
    duplicate_paragraph_characters: float = Field(
        0.2,
        ge=0,
        le=1,
        description="largest share of characters in such paragraphs",
        json_schema_extra=why(
            "0.2, as Gopher has it: fewer than of paragraphs, since long ones weigh more", example="0.4"
        ),
    )
    duplicate_lines: float = Field(
        0.3,
        ge=0,
        le=1,
        description="largest share of lines that repeat an earlier one",
        json_schema_extra=why("0.3, as Gopher has it; source code repeats more of its lines", example="0.7"),
    )
    duplicate_line_characters: float = Field(
        0.2,
        ge=0,
        le=1,
        description="largest share of characters in such lines",
        json_schema_extra=why(
            "0.2, as Gopher has it: fewer than of lines, since long ones weigh more", example="0.4"
        ),
    )
    top_ngrams: list[float] = Field(
        [0.2, 0.18, 0.16],
        description="largest share of characters in the most frequent run of 2, of 3, of 4 words",
        json_schema_extra=why(
            "0.2, 0.18 and 0.16, as Gopher has them for two to four words", example="0.3,0.3,0.3"
        ),
    )
    duplicate_ngrams: list[float] = Field(
        [0.15, 0.14, 0.13, 0.12, 0.11, 0.1],
        description="largest share of characters in runs of 5, 6, … words that stand before in the text",
        json_schema_extra=why(
            "0.15 down to 0.1 for five to ten words, as Gopher has them", example="0.3,0.3,0.3,0.3,0.3,0.3"
        ),
    )
    as_datatrove: bool = Field(
        False,
        description="count as datatrove does: lines of blanks are lines, and overlaps count as often as they overlap",
        json_schema_extra=why(
            "false, as the paper says: lines with text, each character once. True is how FineWeb was made: there a row"
            " of eighty hyphens is 160 characters of one run of two words",
            example="true",
        ),
    )
