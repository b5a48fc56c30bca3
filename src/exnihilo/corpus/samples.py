"""A few documents of each kind to look at, the same ones in whatever order and number of parts they come."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from typing import Any

from blake3 import blake3

from exnihilo.core.documents import Document

KEPT = 5  # documents of each kind
LENGTH = 600  # characters shown of each


class Samples:
    """By kind the documents with the smallest hashes of their ids, as JSON values."""

    def __init__(self) -> None:
        self._held: defaultdict[str, list[tuple[bytes, dict[str, Any]]]] = defaultdict(list)

    def offer(self, kind: str, document: Document, **more: Any) -> None:
        """Show a document, and what is known about it, if it is one of the few."""
        order = _order(document.id)
        if self._wants(kind, order):
            shown = {"id": document.id, "source": document.source, **more, "text": document.text[:LENGTH]}
            self._insert(kind, order, shown)

    def merge(self, other: Samples) -> None:
        """Offer all that was shown elsewhere."""
        for kind, held in other._held.items():
            for order, shown in held:
                if self._wants(kind, order):
                    self._insert(kind, order, shown)

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """The documents of each kind."""
        return {kind: [shown for _, shown in self._held[kind]] for kind in sorted(self._held)}

    @classmethod
    def of(cls, values: dict[str, list[dict[str, Any]]]) -> Samples:
        """What `as_dict` gave."""
        samples = cls()
        for kind, held in values.items():
            samples._held[kind] = [(_order(shown["id"]), shown) for shown in held]
        return samples

    def _wants(self, kind: str, order: bytes) -> bool:
        held = self._held[kind]
        return len(held) < KEPT or order < held[-1][0]

    def _insert(self, kind: str, order: bytes, shown: dict[str, Any]) -> None:
        insort(self._held[kind], (order, shown), key=lambda one: one[0])
        del self._held[kind][KEPT:]


def _order(identity: str) -> bytes:
    return blake3(identity.encode("utf-8")).digest()
