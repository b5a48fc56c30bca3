"""The stage `curate`: filters, exact deduplication, and a held-out split that no training text contains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from exnihilo.core.config import CorpusRef, Count, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.corpus.judge_config import JudgeConfig

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace


class CurateConfig(JudgeConfig):
    """What to keep, and what to hold out."""

    corpus: CorpusRef = Field(
        description="the corpus to curate",
        json_schema_extra=why("there is no default: it is what `collect` made", example="runs/mine/raw"),
    )
    held_out: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of the groups of documents to hold out",
        json_schema_extra=why(
            "0.05 is little to go without, and of some megabytes enough for intervals that tell models apart",
            example="0.1",
        ),
    )
    group: str | None = Field(
        None,
        description="key of meta whose value keeps documents on one side of the split; default: file, or row",
        json_schema_extra=why(
            "open, the file: parts of one file are too alike to stand on both sides of the split",
            example="author",
        ),
    )
    near_duplicate: float | None = Field(
        0.5,
        ge=0,
        le=1,
        description="largest share of a held-out text's word 8-grams that training text may hold; null: any",
        json_schema_extra=why(
            "0.5: a held-out text of which more than half of all runs of 8 words also stand in "
            "training measures memory; a common licence header is less than that",
            example="0.2",
        ),
    )
    limit_bytes: Count | None = Field(
        None,
        ge=1,
        description="most training text, chosen by hash; null: all",
        json_schema_extra=why(
            "open, all of it. With a limit the same texts are taken every time, by hash, so that a "
            "smaller corpus is a part of the larger",
            example="50M",
        ),
    )
    held_out_bytes: Count | None = Field(
        None,
        ge=1,
        description="most held-out text, chosen by hash; null: all",
        json_schema_extra=why(
            "open, all that is held out; evaluation takes time in proportion",
            example="200k",
        ),
    )
    held_out_documents: int | None = Field(
        None,
        ge=1,
        description="most held-out documents; null: all",
        json_schema_extra=why(
            "open, all that are held out; intervals are taken over documents, so keep some dozens",
            example="200",
        ),
    )
    yardstick: bool = Field(
        True,
        description="measure bits per byte of `xz -9e` on the held-out text (a second a megabyte)",
        json_schema_extra=why(
            "true: bits per byte mean more beside what a compressor needs for the same text, and it "
            "costs a second for a megabyte"
        ),
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="processes that filter shards, one each; null: one for each core",
        json_schema_extra=why(
            "open, all cores; the result is the same with any number, and each takes some 300 MB", example="4"
        )
        | {"cosmetic": True},
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
