"""What can be collected, as a schema."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from exnihilo.core.config import Config


class PathSource(Config):
    """Files of the user."""

    path: Path = Field(description="a folder (read all the way down), a glob, or a file")
    source: str | None = Field(
        None, description="name of the source; default: the name of the folder or file"
    )
    licence: str | None = Field(
        None, description="licence of the texts (SPDX); default: what a row states, else 'unknown'"
    )


class PythonSource(Config):
    """The standard library of the Python that runs this: source of its modules and their documentation."""

    python: Literal[True] = Field(description="take the running Python's standard library")
    modules: list[str] | None = Field(
        None, description="only these modules and packages, with what is below them; default: all"
    )


class HubSource(Config):
    """A dataset of the Hugging Face Hub; needs the extra `hub`."""

    hub: str = Field(description="OWNER/NAME of a dataset")
    revision: str | None = Field(None, description="branch, tag or commit; default: the main branch")
    files: list[str] | None = Field(
        None,
        description="patterns of files to take, such as data/train-*.parquet; default: all formats",
    )
    source: str | None = Field(None, description="name of the source; default: the dataset's name")
    licence: str | None = Field(None, description="licence (SPDX); default: what the dataset's card states")


class CollectConfig(Config):
    """What to collect."""

    source: PathSource | PythonSource | HubSource | list[PathSource | PythonSource | HubSource] = Field(
        alias="from", description="where the text comes from: one source, or a list of them"
    )
    text_field: str | None = Field(
        None,
        description="field of JSON, JSONL and Parquet with the text; default: text, content, or the longest",
    )

    @property
    def sources(self) -> list[PathSource | PythonSource | HubSource]:
        """The sources, also where only one was given."""
        return self.source if isinstance(self.source, list) else [self.source]

    @model_validator(mode="after")
    def _python_once(self) -> CollectConfig:
        if sum(isinstance(source, PythonSource) for source in self.sources) > 1:
            raise ValueError("from: python is given twice; list all its modules in one")
        return self
