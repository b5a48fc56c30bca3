"""Datasets of the Hugging Face Hub: which of their files are wanted, and what their cards say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import yaml

from exnihilo.core.hub import snapshot

PATTERNS = ("*.parquet", "*.jsonl", "*.jsonl.gz", "*.json", "*.json.gz", "*.txt", "*.txt.gz")
CARD = "README.md"


def download(name: str, revision: str | None, files: list[str] | None) -> Path:
    """The folder of a dataset's files in the cache; only what the cache lacks is fetched.

    Raises what `core.hub.snapshot` does.
    """
    return snapshot(name, revision, [*(files or PATTERNS), CARD], kind="dataset")


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
