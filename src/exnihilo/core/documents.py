"""The Corpus noun on disk: splits of Parquet shards (zstd), one row a document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from exnihilo.core.errors import Refused

SCHEMA = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("id", "text", "source", "licence", "generator", "meta")
    ]
)

# A row group is what a reader holds at once. Its limits count documents and bytes of text, never time or
# memory, so that the same documents always make the same file.
GROUP_DOCUMENTS = 1024
GROUP_BYTES = 4 << 20


@dataclass
class Document:
    """One text with where it came from.

    `generator` names the program or model that wrote the text, and is empty for text written by people.
    `meta` holds JSON values.
    """

    id: str
    text: str
    source: str
    licence: str
    generator: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


class ShardWriter:
    """Writes documents into one Parquet file: a path, or a stream that is written from its start."""

    def __init__(self, where: Path | BinaryIO) -> None:
        self.documents = 0
        self.bytes = 0
        self._file = pq.ParquetWriter(where, SCHEMA, compression="zstd")
        self._rows: list[tuple[str, str, str, str, str, str]] = []
        self._row_bytes = 0

    @property
    def held(self) -> int:
        """Documents of a row group that is not full yet."""
        return len(self._rows)

    def write(self, document: Document) -> int:
        """Append one document. Returns its bytes of text."""
        size = len(document.text.encode("utf-8"))
        meta = json.dumps(document.meta, ensure_ascii=False, sort_keys=True)
        self._rows.append(
            (document.id, document.text, document.source, document.licence, document.generator, meta)
        )
        self._row_bytes += size
        self.documents += 1
        self.bytes += size
        if len(self._rows) >= GROUP_DOCUMENTS or self._row_bytes >= GROUP_BYTES:
            self._flush()
        return size

    def close(self) -> None:
        """Write what is still held and finish the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
            self._file.write_table(pa.table(columns, schema=SCHEMA))
        self._rows, self._row_bytes = [], 0


class CorpusWriter:
    """Writes documents to `folder/00000.parquet`, `00001.parquet` …, a new one after `shard_bytes` of text.

    Shards that an earlier, interrupted attempt left in the folder are removed. A writer that got no document
    leaves no shard, and so no split.
    """

    def __init__(self, folder: Path, shard_bytes: int = 64 << 20) -> None:
        self.folder = Path(folder)
        self.shard_bytes = shard_bytes
        self.documents = 0
        self.bytes = 0
        self._shard: ShardWriter | None = None
        self._shards = 0
        for stale in shards(self.folder):
            stale.unlink()

    def write(self, document: Document) -> None:
        """Append one document."""
        if self._shard is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._shard = ShardWriter(self.folder / shard_name(self._shards))
            self._shards += 1
        self.bytes += self._shard.write(document)
        self.documents += 1
        if self._shard.bytes >= self.shard_bytes and not self._shard.held:
            self.close()

    def close(self) -> None:
        """Finish the last shard. A second call does nothing."""
        if self._shard is not None:
            self._shard.close()
        self._shard = None

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shard_name(number: int) -> str:
    """The file name of a shard of a split."""
    return f"{number:05d}.parquet"


def splits(corpus: Path) -> list[str]:
    """The names of the splits that hold documents, sorted: usually `train`, or `held_out` and `train`."""
    folder = Path(corpus)
    if not folder.is_dir():
        return []
    return sorted(child.name for child in folder.iterdir() if child.is_dir() and shards(child))


def read_documents(corpus: Path, split: str = "train", *, batch: int = 256) -> Iterator[Document]:
    """The documents of a split in their order on disk, `batch` of them in memory at a time.

    Raises `Refused` if the corpus has no such split or a shard is not a whole Parquet file of this schema.
    """
    found = shards(Path(corpus) / split)
    if not found:
        names = ", ".join(splits(corpus)) or "none"
        raise Refused(
            f"{corpus} holds no documents in split '{split}' (splits found: {names}); give a corpus that has it"
        )
    return read_shards(found, batch=batch)


def read_shards(paths: Sequence[Path], *, batch: int = 256) -> Iterator[Document]:
    """The documents of some shards, in order. Raises `Refused` as `read_documents` does."""
    for shard in paths:
        try:
            with pq.ParquetFile(shard) as file:
                missing = set(SCHEMA.names) - set(file.schema_arrow.names)
                if missing:
                    raise Refused(
                        f"{shard}: no column '{min(missing)}'; this is not a shard of a corpus; collect the text first"
                    )
                for rows in file.iter_batches(batch_size=batch, columns=SCHEMA.names):
                    for row in zip(*(rows.column(name).to_pylist() for name in SCHEMA.names), strict=True):
                        identity, text, source, licence, generator, meta = row
                        yield Document(identity, text, source, licence, generator, json.loads(meta))
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0]
            raise Refused(f"{shard}: not a whole Parquet file ({reason}); make the corpus again") from error


def shards(folder: Path) -> list[Path]:
    """The shards of a split, in order."""
    return sorted(folder.glob("*.parquet")) if folder.is_dir() else []
