"""The Corpus noun on disk: what is written is read, in order, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from exnihilo.core.documents import GROUP_DOCUMENTS, SCHEMA, CorpusWriter, Document, read_documents, splits
from exnihilo.core.errors import Refused
from exnihilo.core.files import content_hash


def documents(count: int, size: int = 10) -> list[Document]:
    return [
        Document(f"{i:04d}", f"{i} " + "語" * size, "notes", "CC0-1.0", "", {"path": f"{i}.txt", "row": i})
        for i in range(count)
    ]


def write(folder: Path, wanted: list[Document], shard_bytes: int = 64 << 20) -> None:
    with CorpusWriter(folder, shard_bytes) as writer:
        for document in wanted:
            writer.write(document)


def test_round_trip_keeps_order_and_every_field(tmp_path: Path) -> None:
    wanted = documents(GROUP_DOCUMENTS + 3)
    wanted[1] = Document(
        "one", "\ufeffodd\r\n\0text\u2028", "s", "l", "model-7", {"b": None, "a": [1, {"x": "é"}]}
    )
    write(tmp_path / "train", wanted)
    assert list(read_documents(tmp_path)) == wanted
    assert splits(tmp_path) == ["train"]


def test_shards_are_cut_by_bytes_of_text_and_read_as_one(tmp_path: Path) -> None:
    wanted = documents(3 * GROUP_DOCUMENTS)
    write(tmp_path / "train", wanted, shard_bytes=1)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == [
        f"0000{i}.parquet" for i in range(3)
    ]
    assert [one.id for one in read_documents(tmp_path, batch=7)] == [one.id for one in wanted]


def test_writer_counts_documents_and_utf8_bytes(tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / "train") as writer:
        writer.write(Document("a", "語é", "s", "l"))
    assert (writer.documents, writer.bytes) == (1, 5)


def test_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "train", documents(50))
    assert content_hash(tmp_path / "one") == content_hash(tmp_path / "two")


def test_shards_of_an_interrupted_attempt_do_not_stay(tmp_path: Path) -> None:
    write(tmp_path / "train", documents(3 * GROUP_DOCUMENTS), shard_bytes=1)
    write(tmp_path / "train", documents(2))
    assert len(list(read_documents(tmp_path))) == 2


def test_no_documents_make_no_split(tmp_path: Path) -> None:
    write(tmp_path / "train", documents(1))
    write(tmp_path / "held_out", [])
    assert splits(tmp_path) == ["train"]
    with pytest.raises(Refused, match=r"no documents in split 'held_out' \(splits found: train\)"):
        read_documents(tmp_path, "held_out")


def test_columns_are_there_from_the_start(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write(tmp_path / "train", documents(1))
    assert pq.read_schema(tmp_path / "train" / "00000.parquet").names == SCHEMA.names
    assert SCHEMA.names == ["id", "text", "source", "licence", "generator", "meta"]


def test_a_broken_or_foreign_shard_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write(tmp_path / "train", documents(40))
    shard = tmp_path / "train" / "00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(Refused, match=r"00000\.parquet: not a whole Parquet file"):
        list(read_documents(tmp_path))
    pq.write_table(pa.table({"text": ["a"]}), shard)
    with pytest.raises(Refused, match="no column 'generator'"):
        list(read_documents(tmp_path))
