"""Keys counted over a corpus in bounded memory: sorted runs in files, merged range by range."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exnihilo.core.errors import Refused
from exnihilo.core.files import write_atomic
from exnihilo.corpus.text_batch import Int64, UInt64

_AT_ONCE = 1 << 22  # rows that a merge sorts at once: 24 bytes each, and the sorted ones beside them


@dataclass(frozen=True)
class KeyCounts:
    """Different keys, in how many texts each is, and which of these comes first.

    Attributes:
        keys: uint64[K], ascending.
        count: uint64[K]; or how many copies there are.
        first: uint64[K]: the least rank of a text that holds it.
    """

    keys: UInt64
    count: UInt64
    first: UInt64


def counted(keys: UInt64, text: Int64, rank: UInt64, *, every_copy: bool = False) -> KeyCounts:
    """The counts of `keys` [S], each of the text `text` [S], whose ranks are uint64[n].

    A text counts once for a key, or with `every_copy` as often as it holds it.
    """
    order = np.lexsort((text, keys))
    keys, text = keys[order], text[order]
    if not every_copy:
        new = np.append(True, (np.diff(keys) != 0) | (np.diff(text) != 0))[: len(keys)]
        keys, text = keys[new], text[new]
    return _summed(KeyCounts(keys, np.ones(len(keys), np.uint64), rank[text]))


def write_run(path: Path, counts: KeyCounts) -> None:
    """Write the counts of a part of the corpus, such as a shard, whole or not at all."""
    stream = io.BytesIO()
    np.save(stream, np.stack([counts.keys, counts.count, counts.first], axis=0))
    write_atomic(path, stream.getvalue())


def merged(paths: Sequence[Path]) -> Iterator[KeyCounts]:
    """The counts of the whole corpus from the runs of its parts, in ranges of ascending keys.

    Keys are hashes, so that ranges of equal width hold equally many. Raises Refused for a file that is no run.
    """
    runs = [_open(path) for path in paths]
    ranges = -(-sum(run.shape[1] for run in runs) // _AT_ONCE)
    edges = [-(-(i << 64) // ranges) for i in range(1, ranges)]
    cuts = [[0, *_places(run, edges), run.shape[1]] for run in runs]
    for i in range(ranges):
        parts = [run[:, cut[i] : cut[i + 1]] for run, cut in zip(runs, cuts, strict=True)]
        rows = np.concatenate(parts, axis=1)
        order = np.argsort(rows[0])
        yield _summed(KeyCounts(rows[0, order], rows[1, order], rows[2, order]))


def frequent(paths: Sequence[Path], more_than: int) -> KeyCounts:
    """The keys that more than `more_than` texts of the corpus hold."""
    none = np.zeros(0, np.uint64)
    parts = [KeyCounts(none, none, none)]
    for part in merged(paths):
        often = part.count > more_than
        parts.append(KeyCounts(part.keys[often], part.count[often], part.first[often]))
    columns = ([p.keys for p in parts], [p.count for p in parts], [p.first for p in parts])
    return KeyCounts(*map(np.concatenate, columns))


def _summed(rows: KeyCounts) -> KeyCounts:
    """Rows of ascending keys, those of one key as one."""
    starts = np.flatnonzero(np.append(True, np.diff(rows.keys) != 0)[: len(rows.keys)])
    if not len(starts):
        return rows
    return KeyCounts(
        rows.keys[starts], np.add.reduceat(rows.count, starts), np.minimum.reduceat(rows.first, starts)
    )


def _open(path: Path) -> npt.NDArray[np.uint64]:
    try:
        run = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Refused(f"{path}: not a run of keys ({error}); count its part of the corpus again") from error
    if run.dtype != np.uint64 or run.ndim != 2 or len(run) != 3:
        raise Refused(f"{path}: not a run of keys; count its part of the corpus again")
    return run  # type: ignore[no-any-return]


def _places(run: npt.NDArray[np.uint64], edges: list[int]) -> list[int]:
    found: list[int] = np.searchsorted(run[0], np.array(edges, dtype=np.uint64)).tolist()
    return found
