"""The stage `curate`: filters, exact deduplication, and a held-out split that no training text contains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from exnihilo.core.config import Config, CorpusRef, Count
from exnihilo.core.stage import Inputs, Stage
from exnihilo.corpus.filters import FilterConfig

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace


class CurateConfig(Config):
    """What to keep, and what to hold out."""

    corpus: CorpusRef = Field(description="the corpus to curate")
    filters: FilterConfig = Field(
        default_factory=FilterConfig, description="quality filters; null turns one off"
    )
    held_out: float = Field(0.05, ge=0, lt=1, description="share of the groups of documents to hold out")
    group: str | None = Field(
        None,
        description="key of meta whose value keeps documents on one side of the split; default: file, or row",
    )
    near_duplicate: float | None = Field(
        0.5,
        ge=0,
        le=1,
        description="largest share of a held-out text's word 8-grams that training text may hold; null: any",
    )
    limit_bytes: Count | None = Field(None, ge=1, description="most training text, chosen by hash; null: all")
    held_out_bytes: Count | None = Field(
        None, ge=1, description="most held-out text, chosen by hash; null: all"
    )
    held_out_documents: int | None = Field(None, ge=1, description="most held-out documents; null: all")
    yardstick: bool = Field(
        True, description="measure bits per byte of `xz -9e` on the held-out text (a second a megabyte)"
    )


def run(config: CurateConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the splits `train` and `held_out`, and `curation.json` with all counts.

    Raises Refused when no training text is left, or nothing could be held out though `held_out` asks for it.
    """
    from exnihilo.corpus.curation import curate

    corpus = inputs["corpus"]
    assert isinstance(corpus, Path)
    curate(config, corpus, work)


STAGE = Stage(
    verb="curate",
    kind="corpus",
    config=CurateConfig,
    run=run,
    doc="Filter and deduplicate a corpus, and hold some of it out for evaluation.",
)
