"""Writing a Tokens folder: shards of ids, with each document's offset, bytes and source beside them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from blake3 import blake3

from exnihilo.core.errors import Refused
from exnihilo.core.files import write_json
from exnihilo.tokens.shards import FILES, INDEX, SCHEMA, dtype_for


class TokenSetWriter:
    """Writes documents to `folder/<split>/00000.tok`, `00001.tok`, … and, on `close`, `tokens.json`.

    That index comes last: a folder without it is not a token set. Shards that an earlier, interrupted attempt
    left are removed. As a context manager it closes only if nothing was raised.

    Args:
        vocab_size: ids run from 0 to `vocab_size - 1`; above 65,536 they take four bytes instead of two.
        tokenizer: the fingerprint of the tokenizer that the ids come from.
        shard_tokens: a shard is closed once it holds this many tokens; documents are never cut.
    """

    def __init__(self, folder: Path, *, vocab_size: int, tokenizer: str, shard_tokens: int = 1 << 27) -> None:
        self.folder = Path(folder)
        self.vocab_size = vocab_size
        self.tokenizer = tokenizer
        self.shard_tokens = shard_tokens
        self.dtype = dtype_for(vocab_size)
        self._sources: dict[str, int] = {}
        self._open: dict[str, _Shard] = {}
        self._finished: dict[str, list[dict[str, Any]]] = {}
        (self.folder / INDEX).unlink(missing_ok=True)
        for suffix in FILES:
            for stale in self.folder.glob(f"*/[0-9][0-9][0-9][0-9][0-9].{suffix}"):
                stale.unlink()

    def write(
        self, split: str, ids: Sequence[int] | np.ndarray[Any, Any], text_bytes: int, source: str
    ) -> None:
        """Append a document: its ids (`bos … eos`) as they will be read, and the UTF-8 bytes of its text.

        Raises:
            Refused: an id lies outside the vocabulary, or there is no id.
        """
        tokens = np.asarray(ids, dtype=np.int64)
        if tokens.size == 0:
            raise Refused(
                f"{self.folder}: a document of split '{split}' has no tokens; write at least bos and eos"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.vocab_size:
            bad = low if low < 0 else high
            raise Refused(
                f"{self.folder}: token id {bad} is outside the vocabulary of {self.vocab_size}; "
                "give the vocabulary size of the tokenizer that made the ids"
            )
        finished = self._finished.setdefault(split, [])
        if split not in self._open:
            self._open[split] = _Shard(self.folder / split / f"{len(finished):05d}", self.dtype)
        shard = self._open[split]
        shard.append(tokens, text_bytes, self._sources.setdefault(source, len(self._sources)))
        if shard.offsets[-1] >= self.shard_tokens:
            finished.append(self._open.pop(split).finish())

    def close(self) -> None:
        """Finish the open shards and write the index."""
        for split in list(self._open):
            self._finished[split].append(self._open.pop(split).finish())
        index = {
            "schema": SCHEMA,
            "vocab_size": self.vocab_size,
            "dtype": self.dtype.name,
            "tokenizer": self.tokenizer,
            "splits": {
                split: {
                    **{
                        name: sum(shard[name] for shard in shards)
                        for name in ("tokens", "documents", "bytes")
                    },
                    "shards": shards,
                }
                for split, shards in sorted(self._finished.items())
            },
            "sources": list(self._sources),
        }
        write_json(self.folder / INDEX, index)

    def __enter__(self) -> TokenSetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        for shard in self._open.values():
            shard.file.close()


class _Shard:
    def __init__(self, stem: Path, dtype: np.dtype[Any]) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        self.stem = stem
        self.dtype = dtype.newbyteorder("<")
        self.file = stem.with_suffix(".tok").open("wb")
        self.hash = blake3()
        self.offsets = array("Q", [0])
        self.byte_lengths = array("Q")
        self.sources = array("L")

    def append(self, tokens: np.ndarray[Any, Any], text_bytes: int, source: int) -> None:
        data = tokens.astype(self.dtype).tobytes()
        self.file.write(data)
        self.hash.update(data)
        self.offsets.append(self.offsets[-1] + tokens.size)
        self.byte_lengths.append(text_bytes)
        self.sources.append(source)

    def finish(self) -> dict[str, Any]:
        self.file.close()
        hashes = {"tok": self.hash.hexdigest()}
        for suffix, values in (("off", self.offsets), ("len", self.byte_lengths), ("src", self.sources)):
            data = np.asarray(values).astype(FILES[suffix]).tobytes()
            self.stem.with_suffix(f".{suffix}").write_bytes(data)
            hashes[suffix] = blake3(data).hexdigest()
        return {
            "tokens": self.offsets[-1],
            "documents": len(self.byte_lengths),
            "bytes": sum(self.byte_lengths),
            "blake3": hashes,
        }
