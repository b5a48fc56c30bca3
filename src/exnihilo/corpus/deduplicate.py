"""Exact duplicates: which one of several equal texts survives."""

from __future__ import annotations

from blake3 import blake3


def text_digest(text: str) -> bytes:
    """16 bytes that two texts share if they differ in nothing but white space."""
    return blake3(" ".join(text.split()).encode("utf-8")).digest()[:16]


class ExactDuplicates:
    """Finds the survivor of each set of equal texts: the longest, then the one with the smallest id.

    So the choice does not depend on the order in which texts come. Of a text, 16 bytes of hash are held.
    """

    def __init__(self) -> None:
        self._best: dict[bytes, tuple[int, str, int]] = {}  # digest -> (-length, id, number)

    def add(self, number: int, identity: str, text: str) -> tuple[int, str] | None:
        """Enter text `number`; returns (number, id) of the one that is dropped, itself or an earlier one."""
        digest = text_digest(text)
        candidate = (-len(text), identity, number)
        best = self._best.get(digest)
        if best is None:
            self._best[digest] = candidate
            return None
        survivor, dropped = sorted((best, candidate))
        self._best[digest] = survivor
        return dropped[2], dropped[1]
