"""What earlier runs already hold: an index on disk that tells which texts of a new corpus are there, exactly or nearly.

Exact copies are known by a digest of their text (`deduplicate.text_digest`), near-duplicates by the keys of their
MinHash bands. Both are sorted 64-bit numbers in files that are mapped, not read: memory holds what the operating system
likes to keep. A Bloom filter would take a seventh of the disk space, and drop a text in a hundred for nothing; two of
them could not be joined unless their sizes agree, nor could one grow. With 64 bits and a billion texts in the index,
one new text in 18 billion is taken for a copy of another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exnihilo.core.errors import Refused
from exnihilo.core.files import atomic_stream, write_json
from exnihilo.corpus import folded
from exnihilo.corpus.deduplicate import text_digest
from exnihilo.corpus.folded import fold
from exnihilo.corpus.key_runs import counted, merged, write_run
from exnihilo.corpus.minhash import band_keys, shingles, signatures
from exnihilo.corpus.text_batch import Bools, Int64, TextBatch, UInt64

MANIFEST = "known-texts.json"
_FILES = ("digests", "bands")


@dataclass(frozen=True)
class BandRule:
    """How near-duplicates are known: shingles of `words` words, `bands` bands of `rows` hashes of the signature.

    A text is known by any band. No text is left to compare it with, so that `minhash.detection` is also the share of
    merely similar texts that are taken for known: with 14 bands of 8 rows 5 % of those of Jaccard similarity 0.5, 92 %
    of those of 0.8; with 9 bands of 13 rows 0.1 % and 40 %.
    """

    words: int = 5
    bands: int = 14
    rows: int = 8
    seed: int = 1


def write_part(folder: Path, name: str, texts: Sequence[str], rule: BandRule) -> None:
    """Write what will be known of some texts, as two files that `write_index` joins with those of others."""
    for file, keys in zip(_FILES, _keys(texts, rule), strict=True):
        part = counted(keys, np.arange(len(keys)), np.zeros(len(keys), np.uint64))
        write_run(folder / f"{name}.{file}.npy", part)


def write_index(folder: Path, parts: Path, rule: BandRule) -> None:
    """Write the index of all parts in the folder `parts` into `folder`; the manifest comes last."""
    for file in _FILES:
        with atomic_stream(folder / f"{file}.u64") as stream:
            for some in merged(sorted(parts.glob(f"*.{file}.npy"))):
                stream.write(some.keys.astype("<u8").tobytes())
    write_json(folder / MANIFEST, _manifest(rule))


class KnownTexts:
    """An index that `write_index` wrote.

    Raises Refused where there is none, and for one that was made with other parameters than `rule` or other folding.
    """

    def __init__(self, folder: Path, rule: BandRule) -> None:
        try:
            manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise Refused(f"{folder}: no index of known texts ({error}); write one first") from error
        wanted = _manifest(rule)
        if manifest != wanted:
            differs = sorted(
                name
                for name in wanted
                if not isinstance(manifest, dict) or manifest.get(name) != wanted[name]
            )
            raise Refused(
                f"{folder / MANIFEST}: made with other parameters than are wanted now ({', '.join(differs)}):"
                f" {manifest}, not {wanted}; use its parameters, or make it again from the texts"
            )
        self._rule = rule
        self._digests, self._bands = (_mapped(folder / f"{file}.u64") for file in _FILES)

    def copies(self, texts: Sequence[str]) -> Bools:
        """Which texts the index holds exactly, white space aside, bool[n]."""
        return _held(self._digests, _digests(texts))

    def shared_bands(self, texts: Sequence[str]) -> Int64:
        """How many of its bands each text shares with texts of the index, int64[n]."""
        keys = _bands(texts, self._rule)
        held: Int64 = _held(self._bands, keys.reshape(-1)).reshape(keys.shape).sum(axis=1)
        return held

    def seen(self, texts: Sequence[str]) -> Bools:
        """Which texts the index holds, exactly or nearly, bool[n]."""
        return self.copies(texts) | (self.shared_bands(texts) > 0)


def _manifest(rule: BandRule) -> dict[str, str | int]:
    return {"kind": "known texts 1", "normalisation": folded.NAME, **asdict(rule)}


def _keys(texts: Sequence[str], rule: BandRule) -> tuple[UInt64, UInt64]:
    return _digests(texts), _bands(texts, rule).reshape(-1)


def _digests(texts: Sequence[str]) -> UInt64:
    return np.frombuffer(b"".join(text_digest(text)[:8] for text in texts), dtype=">u8").astype(np.uint64)


def _bands(texts: Sequence[str], rule: BandRule) -> UInt64:
    """The keys of each text's bands, uint64[n, bands]; of a text without words its digest, which no band has."""
    hashes, first = shingles(fold(TextBatch.of(texts)).batch, rule.words)
    keys = band_keys(signatures(hashes, first, rule.bands * rule.rows, rule.seed), rule.bands)
    empty = np.diff(first) == 0
    keys[empty] = _digests(texts)[empty, None]
    return keys


def _mapped(path: Path) -> npt.NDArray[np.uint64]:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}; make the index of known texts again") from error
    return np.memmap(path, dtype="<u8", mode="r") if size else np.zeros(0, np.uint64)


def _held(index: npt.NDArray[np.uint64], keys: UInt64) -> Bools:
    """Which keys the sorted index holds; looked up in ascending order, so that each page of it is touched once."""
    held = np.zeros(len(keys), dtype=bool)
    if len(index) and len(keys):
        order = np.argsort(keys)
        place = np.minimum(np.searchsorted(index, keys[order]), len(index) - 1)
        held[order] = index[place] == keys[order]
    return held
