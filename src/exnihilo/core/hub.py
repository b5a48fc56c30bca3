"""Repositories of the Hugging Face Hub: downloaded once into its usual cache, then a folder like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from exnihilo.core.errors import ConfigError, ExnihiloError, MissingExtra


def snapshot(
    name: str, revision: str | None, patterns: Sequence[str], *, kind: Literal["dataset", "model"]
) -> Path:
    """The folder of a repository's files in the cache; only what the cache lacks is fetched.

    Raises MissingExtra without the extra `hub`, ConfigError for a name or revision that does not exist, and
    ExnihiloError where the files are neither cached nor to be had.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise MissingExtra("hub", needed_for=f"reading the {kind} {name}") from error
    try:
        folder = huggingface_hub.snapshot_download(
            name, repo_type=kind, revision=revision, allow_patterns=list(patterns)
        )
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ConfigError(
            f"hub: {name}: {_first_line(error)}; give OWNER/NAME of a {kind} that exists"
        ) from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        instead = "collect files" if kind == "dataset" else "give the folder of a model"
        raise ExnihiloError(
            f"hub: {name}: {_first_line(error)}; connect to the network once, or {instead} that you have"
        ) from error
    return Path(folder)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
