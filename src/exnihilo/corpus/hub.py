"""Datasets of the Hugging Face Hub: downloaded once into its usual cache, then read as a folder of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import yaml

from exnihilo.core.errors import ConfigError, ExnihiloError, MissingExtra

PATTERNS = ("*.parquet", "*.jsonl", "*.jsonl.gz", "*.json", "*.json.gz", "*.txt", "*.txt.gz")
CARD = "README.md"


def download(name: str, revision: str | None, files: list[str] | None) -> Path:
    """The folder of a dataset's files in the cache; only what the cache lacks is fetched.

    Raises MissingExtra without the extra `hub`, ConfigError for a name or revision that does not exist, and
    ExnihiloError where the files are neither cached nor to be had.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise MissingExtra("hub", needed_for=f"reading the dataset {name}") from error
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                name, repo_type="dataset", revision=revision, allow_patterns=[*(files or PATTERNS), CARD]
            )
        )
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ConfigError(
            f"hub: {name}: {_first_line(error)}; give OWNER/NAME of a dataset that exists"
        ) from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise ExnihiloError(
            f"hub: {name}: {_first_line(error)}; connect to the network once, or collect files that you have"
        ) from error
    return folder


def is_wanted(relative: str, files: Sequence[str] | None) -> bool:
    """Whether a file was asked for: the cache may hold others of the same dataset."""
    return relative != CARD and any(fnmatch(relative, pattern) for pattern in files or PATTERNS)


def card_licence(folder: Path) -> str | None:
    """The licence that a dataset's card states in its header, if it states one."""
    card = folder / CARD
    if not card.is_file():
        return None
    header = re.match(r"\A---\r?\n(.*?)\r?\n---", card.read_text("utf-8-sig", errors="replace"), re.DOTALL)
    try:
        stated = yaml.safe_load(header.group(1)) if header else None
    except yaml.YAMLError:
        return None
    licence = stated.get("license") if isinstance(stated, dict) else None
    if isinstance(licence, list):
        licence = " AND ".join(sorted(str(one) for one in licence))
    return licence if isinstance(licence, str) and licence else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
