"""What can be collected, as a schema."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from exnihilo.core.config import Config, why


class PathSource(Config):
    """Files of the user."""

    path: Path = Field(
        description="a folder (read all the way down), a glob, or a file",
        json_schema_extra=why(
            "there is no default: it is your text. Text, HTML, LaTeX, JSONL, JSON, Parquet, WARC, dumps of "
            "MediaWiki, PDF, EPUB and archives of them are read",
            example="./my-texts",
        ),
    )
    source: str | None = Field(
        None,
        description="name of the source; default: the name of the folder or file",
        json_schema_extra=why(
            "open, the folder's name: the loss, the scores and the model card are told by source",
            example="manuals",
        ),
    )
    licence: str | None = Field(
        None,
        description="licence of the texts (SPDX); default: what a row states, else 'unknown'",
        json_schema_extra=why(
            "open, what each row states: nobody can tell the licence of a text from its words",
            example="CC-BY-4.0",
        ),
    )


class PythonSource(Config):
    """The standard library of the Python that runs this: source of its modules and their documentation."""

    python: Literal[True] = Field(
        description="take the running Python's standard library",
        json_schema_extra=why(
            "the one value is true: the interpreter that runs this is a corpus that every machine has",
            example="true",
        ),
    )
    modules: list[str] | None = Field(
        None,
        description="only these modules and packages, with what is below them; default: all",
        json_schema_extra=why("open, all: some 13 MB of source and documentation", example="json,logging"),
    )


class HubSource(Config):
    """A dataset of the Hugging Face Hub; needs the extra `hub`."""

    hub: str = Field(
        description="OWNER/NAME of a dataset",
        json_schema_extra=why("there is no default: it is the dataset", example="OWNER/NAME"),
    )
    revision: str | None = Field(
        None,
        description="branch, tag or commit; default: the main branch",
        json_schema_extra=why(
            "open, the main branch as it is now; name a commit, and the same text comes again later",
            example="main",
        ),
    )
    files: list[str] | None = Field(
        None,
        description="patterns of files to take, such as data/train-*.parquet; default: all formats",
        json_schema_extra=why(
            "open, every file in a format that can be read", example="data/train-*.parquet"
        ),
    )
    source: str | None = Field(
        None,
        description="name of the source; default: the dataset's name",
        json_schema_extra=why("open, the dataset's name, so that shares are told by dataset", example="wiki"),
    )
    licence: str | None = Field(
        None,
        description="licence (SPDX); default: what the dataset's card states",
        json_schema_extra=why(
            "open, what the dataset's card states; the card may be wrong about single texts",
            example="CC-BY-SA-4.0",
        ),
    )


class ObjectSource(Config):
    """Objects in a store; S3 and Google's need the extra `cloud`, the Hub's `hub`."""

    url: str = Field(
        pattern=r"^[a-z0-9+]+://.+",
        description="an object, all below a prefix, or a glob: s3://, gs://, hf://, or another that fsspec knows",
        json_schema_extra=why(
            "there is no default: it is where your text lies; keys and rights are those of the environment",
            example="s3://bucket/texts",
        ),
    )
    source: str | None = Field(
        None,
        description="name of the source; default: the last part of the URL",
        json_schema_extra=why(
            "open, the last part of the URL: the loss and the scores are told by source", example="crawl"
        ),
    )
    licence: str | None = Field(
        None,
        description="licence of the texts (SPDX); default: what a row states, else 'unknown'",
        json_schema_extra=why(
            "open, what each row states: nobody can tell the licence of a text from its words",
            example="CC-BY-4.0",
        ),
    )


class RepositorySource(Config):
    """A repository of source code: what people wrote in it, without what was copied in, generated or minified."""

    repository: Path = Field(
        description="the folder of a repository, or a zip or tar archive of it",
        json_schema_extra=why(
            "there is no default: it is your code; what is under version control beside it stays out",
            example="./my-project",
        ),
    )
    source: str | None = Field(
        None,
        description="name of the source; default: the name of the folder or archive",
        json_schema_extra=why(
            "open, the name of the repository: shares and the loss are told by source", example="my-project"
        ),
    )
    licence: str | None = Field(
        None,
        description="licence (SPDX); default: that of its licence file, else 'unknown'",
        json_schema_extra=why(
            "open, what its licence file holds, if that is one of the common licences", example="Apache-2.0"
        ),
    )


Source = PathSource | PythonSource | HubSource | ObjectSource | RepositorySource


class CollectConfig(Config):
    """What to collect."""

    source: Source | list[Source] = Field(
        alias="from",
        description="where the text comes from: one source, or a list of them",
        json_schema_extra=why("there is no default: nothing is read that was not named"),
    )
    text_field: str | None = Field(
        None,
        description="field of JSON, JSONL and Parquet with the text; default: text, content, or the longest",
        json_schema_extra=why(
            "open: `text` and `content` are what nearly all datasets call it, and else the longest "
            "field is the text",
            example="body",
        ),
    )

    repair: bool = Field(
        True,
        description="set wrongly decoded text right (cafÃ©), with ftfy; source code stays as it is",
        json_schema_extra=why(
            "true: text that was decoded wrongly once teaches a model nothing but that, and text without "
            "its signs is not touched",
            example="false",
        ),
    )

    @property
    def sources(self) -> list[Source]:
        """The sources, also where only one was given."""
        return self.source if isinstance(self.source, list) else [self.source]

    @model_validator(mode="after")
    def _python_once(self) -> CollectConfig:
        if sum(isinstance(source, PythonSource) for source in self.sources) > 1:
            raise ValueError("from: python is given twice; list all its modules in one")
        return self
