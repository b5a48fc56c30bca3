"""The filters of a curation, as a schema."""

from __future__ import annotations

from pydantic import Field

from exnihilo.core.config import Config, why
from exnihilo.corpus.c4_config import C4Limits
from exnihilo.corpus.filter_config import FilterConfig
from exnihilo.corpus.fineweb_config import FineWebLimits
from exnihilo.corpus.gopher_config import QualityLimits, RepetitionLimits


class JudgeConfig(Config):
    """Which filters a text has to pass, in the order in which they are applied."""

    filters: FilterConfig = Field(
        default_factory=FilterConfig, description="quality filters for any text; null turns one off"
    )
    gopher_repetition: RepetitionLimits | None = Field(
        None,
        description="Gopher's rules of repetition; null: none of them",
        json_schema_extra=why(
            "open: they are made for pages of the web; source code and poems repeat themselves rightly",
            example="{}",
        ),
    )
    gopher_quality: QualityLimits | None = Field(
        None,
        description="Gopher's rules of quality; null: none of them",
        json_schema_extra=why(
            "open: they are made for prose of the web, and reject most source code", example="{}"
        ),
    )
    c4: C4Limits | None = Field(
        None,
        description="C4's rules, which also take out lines; null: none of them",
        json_schema_extra=why("open: they are made for prose of the web, and alter texts", example="{}"),
    )
    fineweb: FineWebLimits | None = Field(
        None,
        description="FineWeb's own rules; null: none of them",
        json_schema_extra=why(
            "open: they are made for prose of the web, after the other rules", example="{}"
        ),
    )
