"""The Tokens noun on disk: memory-mapped shards of token ids.

    tokens.json         vocabulary size, id type, tokenizer fingerprint, and by split the shards with hashes
    tokenizer/          a copy of the tokenizer's files
    train/00000.tok     ids, little-endian, two bytes each, or four if the vocabulary exceeds 65,536
    train/00000.off     uint64[documents + 1]: where each document starts in the .tok file, in tokens
    train/00000.len     uint64[documents]: UTF-8 bytes of each document's text
    train/00000.src     uint32[documents]: index into `sources` of tokens.json

Documents are found by their offsets, never by looking for an end token, which may occur inside one.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from exnihilo.core.errors import Refused
from exnihilo.core.files import file_hash

SCHEMA = 1
INDEX = "tokens.json"
FILES = {"tok": "", "off": "<u8", "len": "<u8", "src": "<u4"}  # suffix -> type; that of .tok is in the index

Int64Array = npt.NDArray[np.int64]


def dtype_for(vocab_size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every id: uint16 up to a vocabulary of 65,536, else uint32."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


class Fingerprinted(Protocol):
    """What a token set needs to know of a tokenizer."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...


class TokenSet:
    """One split of a Tokens folder, read through memory maps.

    Attributes:
        path: the folder; its name stands for the set in reports.
        vocab_size, dtype: as in the index.
        tokenizer: the folder with the tokenizer's files.
        tokenizer_fingerprint: of the tokenizer that made the ids.
        fingerprint: blake3 over the hashes of all the split's bytes, the vocabulary size and the tokenizer.
        documents, tokens, bytes: counts over the split; bytes are those of the texts in UTF-8.
    """

    def __init__(self, path: Path, split: str, index: dict[str, Any]) -> None:
        self.path = path
        self.split = split
        self.vocab_size: int = index["vocab_size"]
        self.dtype = np.dtype(index["dtype"])
        self.tokenizer = path / "tokenizer"
        self.tokenizer_fingerprint: str = index["tokenizer"]
        records = index["splits"][split]["shards"]
        self.documents: int = sum(record["documents"] for record in records)
        self.tokens: int = sum(record["tokens"] for record in records)
        self.bytes: int = sum(record["bytes"] for record in records)
        identity = [SCHEMA, self.vocab_size, self.dtype.name, self.tokenizer_fingerprint]
        hashes = [[record["blake3"][suffix] for suffix in FILES] for record in records]
        self.fingerprint: str = blake3(json.dumps([identity, hashes]).encode()).hexdigest()
        self.source_names: list[str] = index["sources"]
        self._records: list[dict[str, Any]] = records
        self._shard_starts = np.cumsum([0, *(record["tokens"] for record in records)], dtype=np.int64)
        self._maps = [self._map(shard, "tok") for shard in range(len(records))]

    @staticmethod
    def open(folder: Path | str, split: str = "train", *, verify: bool = True) -> TokenSet:
        """Open one split. `verify` reads every shard once and compares it with its hash.

        Raises:
            Refused: no token set, no such split, an id type that doesn't fit the vocabulary, or a shard
                missing, truncated or altered; the message names the file.
        """
        path = Path(folder)
        index = _read_index(path)
        if split not in index["splits"]:
            raise Refused(
                f"{path} has no split '{split}', only {', '.join(index['splits']) or 'none'}; "
                "give a corpus that has it, and make the tokens again"
            )
        if index["dtype"] != dtype_for(index["vocab_size"]).name:
            raise Refused(
                f"{path / INDEX}: a vocabulary of {index['vocab_size']} has ids of type "
                f"{dtype_for(index['vocab_size']).name}, not {index['dtype']}; make the tokens again"
            )
        for shard, record in enumerate(index["splits"][split]["shards"]):
            _check_shard(path / split, shard, record, np.dtype(index["dtype"]), verify)
        return TokenSet(path, split, index)

    @cached_property
    def lengths(self) -> Int64Array:
        """Tokens of each document, int64[documents]."""
        parts = [np.diff(self._map(shard, "off").astype(np.int64)) for shard in range(len(self._records))]
        return np.concatenate(parts)

    @cached_property
    def starts(self) -> Int64Array:
        """Where each document begins, counted in tokens over the whole split, int64[documents]."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def byte_lengths(self) -> Int64Array:
        """UTF-8 bytes of each document's text, int64[documents]."""
        return np.concatenate([self._map(shard, "len") for shard in range(len(self._records))]).astype(
            np.int64
        )

    @cached_property
    def sources(self) -> list[str]:
        """Where each document comes from."""
        return [self.source_names[i] for i in self.source_ids.tolist()]

    @cached_property
    def source_ids(self) -> Int64Array:
        """The same as an index into `source_names`, int64[documents]."""
        parts = [self._map(shard, "src") for shard in range(len(self._records))]
        return np.concatenate(parts).astype(np.int64)

    def document(self, i: int) -> npt.NDArray[Any]:
        """The ids of document `i`, `bos … eos`, as a view of the memory map.

        Raises:
            IndexError: there is no such document.
        """
        if not 0 <= i < self.documents:
            raise IndexError(f"document {i} of {self.documents} in {self.path}, split {self.split}")
        start = int(self.starts[i])
        shard = int(np.searchsorted(self._shard_starts, start, side="right")) - 1
        offset = start - int(self._shard_starts[shard])
        return self._maps[shard][offset : offset + int(self.lengths[i])]

    def take(self, addresses: Int64Array) -> Int64Array:
        """The ids at these places of the split (see `starts`), int64 of the same shape."""
        if len(self._maps) == 1:
            return self._maps[0][addresses].astype(np.int64)
        ids = np.empty(addresses.shape, dtype=np.int64)
        shards = np.searchsorted(self._shard_starts, addresses, side="right") - 1
        for shard in np.unique(shards):
            here = shards == shard
            ids[here] = self._maps[shard][addresses[here] - self._shard_starts[shard]]
        return ids

    def check_tokenizer(self, tokenizer: Fingerprinted) -> None:
        """Refuse a tokenizer other than the one that made the ids.

        Raises:
            Refused: the vocabulary size or the fingerprint differs.
        """
        if tokenizer.vocab_size != self.vocab_size:
            raise Refused(
                f"{self.path} was made for a vocabulary of {self.vocab_size}, the tokenizer has "
                f"{tokenizer.vocab_size}: tokenize the corpus again with this tokenizer"
            )
        if tokenizer.fingerprint != self.tokenizer_fingerprint:
            raise Refused(
                f"{self.path} was made by tokenizer {self.tokenizer_fingerprint[:12]}, not by "
                f"{tokenizer.fingerprint[:12]}: tokenize the corpus again with this tokenizer"
            )

    def _map(self, shard: int, suffix: str) -> npt.NDArray[Any]:
        dtype = self.dtype.newbyteorder("<") if suffix == "tok" else np.dtype(FILES[suffix])
        return np.memmap(self.path / self.split / f"{shard:05d}.{suffix}", dtype=dtype, mode="r")


def splits(folder: Path | str) -> list[str]:
    """The names of the splits of a Tokens folder.

    Raises:
        Refused: the folder holds no token set.
    """
    return list(_read_index(Path(folder))["splits"])


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads((path / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused(f"{path} holds no {INDEX}; give a folder made by 'exnihilo tokenize'") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path / INDEX} is not valid JSON ({error}); make the tokens again") from error
    if not isinstance(index, dict):
        raise Refused(f"{path / INDEX} is no index of tokens; make the tokens again")
    if index.get("schema") != SCHEMA:
        raise Refused(
            f"{path / INDEX} has schema {index.get('schema')}, this version reads {SCHEMA}; "
            "make the tokens again"
        )
    missing = [
        name for name in ("vocab_size", "dtype", "tokenizer", "splits", "sources") if name not in index
    ]
    if missing:
        raise Refused(f"{path / INDEX} has no {missing[0]}; make the tokens again")
    return index


def _check_shard(
    folder: Path, shard: int, record: dict[str, Any], dtype: np.dtype[Any], verify: bool
) -> None:
    documents = record["documents"]
    sizes = {
        "tok": record["tokens"] * dtype.itemsize,
        "off": (documents + 1) * 8,
        "len": documents * 8,
        "src": documents * 4,
    }
    for suffix, size in sizes.items():
        file = folder / f"{shard:05d}.{suffix}"
        if not file.is_file():
            raise Refused(f"{file} is missing; make the tokens again")
        if (found := file.stat().st_size) != size:
            state = "truncated" if found < size else "altered"
            raise Refused(f"{file} is {state}: {found} bytes instead of {size}; make the tokens again")
        if verify and file_hash(file) != record["blake3"][suffix]:
            raise Refused(f"{file} is altered: its hash differs from that in {INDEX}; make the tokens again")
