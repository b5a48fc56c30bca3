"""A sample of texts by their hashes: the same texts whatever their order, and no more bytes than asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from exnihilo.core.errors import Refused


@dataclass(frozen=True)
class Survey:
    """What a first pass over texts found, and which of them a second pass shall take.

    `chosen_bytes` is what `choose` yields, in bytes of UTF-8; a cut inside a character may leave three out.
    Texts with hashes below `last_hash` are taken whole, and `last_bytes` of those that have it.
    """

    total_bytes: int
    chosen_bytes: int
    last_hash: int
    last_bytes: int

    def choose(self, texts: Iterable[str]) -> Iterator[str]:
        """The texts with the lowest hashes, in the order given; the last by hash may be cut."""
        left = self.last_bytes
        for text in texts:
            value = _hash(text)
            if value < self.last_hash:
                yield text
            elif value == self.last_hash and left:
                data = text.encode("utf-8")[:left]
                left -= len(data)
                yield data.decode("utf-8", "ignore")


def survey(texts: Iterable[str], most_bytes: int) -> Survey:
    """Find the hash up to which texts fill `most_bytes`. Raises Refused if all are empty."""
    pairs = [(_hash(text), len(text.encode("utf-8"))) for text in texts]
    table = np.array(pairs, dtype=[("hash", np.uint64), ("bytes", np.int64)])
    total = int(table["bytes"].sum())
    if not total:
        raise Refused("the corpus has no text; look at what was collected and what the filters left")
    table.sort(order="hash")
    enough = int(np.searchsorted(np.cumsum(table["bytes"]), most_bytes))
    last = table["hash"][min(enough, len(table) - 1)]
    whole = int(table["bytes"][table["hash"] < last].sum())
    chosen = min(total, most_bytes)
    return Survey(total, chosen, int(last), chosen - whole)


def _hash(text: str) -> int:
    return int.from_bytes(blake3(text.encode("utf-8")).digest()[:8], "big")
