"""How much of a corpus comes from where."""

from __future__ import annotations

from collections import Counter
from typing import Any

from exnihilo.core.documents import Document


class Provenance:
    """Bytes of text by source, licence and generator."""

    def __init__(self) -> None:
        self._bytes: Counter[tuple[str, str, str]] = Counter()

    def add(self, document: Document) -> int:
        """Count a document; returns its size in bytes of UTF-8."""
        size = len(document.text.encode("utf-8"))
        self._bytes[document.source, document.licence, document.generator] += size
        return size

    def entries(self, unit: str) -> list[dict[str, Any]]:
        """[{"source", "licence", "generator", "amount", "unit"}], sorted."""
        return [
            {"source": source, "licence": licence, "generator": generator, "amount": amount, "unit": unit}
            for (source, licence, generator), amount in sorted(self._bytes.items())
        ]
