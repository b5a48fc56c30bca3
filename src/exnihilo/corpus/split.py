"""Which documents train and which are held out: by a hash of what they belong to, not by their order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blake3 import blake3

from exnihilo.core.documents import Document

_SPAN = 1 << 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may be used, without its text: its number in the stream, id, bytes, and group."""

    number: int
    identity: str
    size: int
    place: float  # of its group in [0, 1): below the held-out share it is held out
    order: int  # of its group where only some of the documents are wanted


def group_of(document: Document, by: str | None) -> str:
    """What a document belongs to: nothing of one group stands on both sides of the split.

    `by` names a key of `meta`. Without it, or for a document that lacks it, the group is the file that the
    document is (`meta["path"]`, so a Python module's source and documentation stay together), the row where a
    file has many, or else the document alone.
    """
    if by is not None and by in document.meta:
        return str(document.meta[by])
    if "path" not in document.meta:
        return document.id
    row = document.meta.get("row")
    return f"{document.meta['path']}" if row is None else f"{document.meta['path']}#{row}"


def candidate(number: int, document: Document, by: str | None) -> Candidate:
    """A document as the split sees it."""
    digest = blake3(group_of(document, by).encode("utf-8")).digest()
    place, order = int.from_bytes(digest[:8]), int.from_bytes(digest[8:16])
    return Candidate(number, document.id, len(document.text.encode("utf-8")), place / _SPAN, order)


def split(candidates: Sequence[Candidate], share: float) -> tuple[list[Candidate], list[Candidate]]:
    """(train, held out): each group by its own hash, so that other documents never move it.

    Where a few groups leave none below the share, the nearest to it is held out, of those with at most half
    of the text.
    """
    held_out = [one for one in candidates if one.place < share]
    if not held_out and share > 0:
        sizes: defaultdict[float, int] = defaultdict(int)
        for one in candidates:
            sizes[one.place] += one.size
        small = [place for place, size in sizes.items() if len(sizes) > 1 and 2 * size <= sum(sizes.values())]
        held_out = [one for one in candidates if small and one.place == min(small)]
    chosen = {one.number for one in held_out}
    return [one for one in candidates if one.number not in chosen], held_out


def limit(candidates: Iterable[Candidate], size: int | None, documents: int | None = None) -> list[Candidate]:
    """As many as fit into `size` bytes and a number of documents, whole groups before others by their hash.

    One that does not fit is passed over, and smaller ones after it may still fit. The order given is kept.
    """
    candidates = list(candidates)
    if size is None and documents is None:
        return candidates
    taken: set[int] = set()
    filled = 0
    for one in sorted(candidates, key=lambda one: (one.order, one.identity, one.number)):
        if documents is not None and len(taken) >= documents:
            break
        if size is None or filled + one.size <= size:
            taken.add(one.number)
            filled += one.size
    return [one for one in candidates if one.number in taken]


def cut_end(text: str, share: float) -> tuple[str, str]:
    """A text without its end, and that end: about `share` of it, from the start of a line (else of a word).

    For a corpus of one document, where the end is what is customarily held out.
    """
    place = round(len(text) * (1 - share))
    window = (len(text) - place) // 2
    for mark in ("\n", " "):
        found = text.find(mark, place, place + window)
        if found >= 0:
            place = found + 1
            break
    return text[:place], text[place:]


def head(text: str, size: int | None) -> str:
    """The start of a text: as many whole characters as fit into `size` bytes."""
    return text if size is None else text.encode("utf-8")[:size].decode("utf-8", errors="ignore")
