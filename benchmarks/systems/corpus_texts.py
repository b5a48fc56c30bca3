"""The English texts that filters are measured on, for any interpreter: standard library only."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

ENGLISH = ("peps", "rust-rfcs", "brown", "movie-reviews", "speeches-and-misc", "wikitext2-valid")


def english(documents: int | None = None) -> list[str]:
    """The texts of `EXNIHILO_DATA`/text that are English, or every k-th of them so that some `documents` are left."""
    texts = []
    for name in ENGLISH:
        path = Path(os.environ["EXNIHILO_DATA"]) / "text" / f"{name}.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    return texts[:: max(1, len(texts) // documents)] if documents else texts
