"""Compressed files: every compression, damaged ones, bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.documents import read_documents
from exnihilo.corpus import unpack as unpacking
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file
from exnihilo.corpus.unpack import NotWhole, TooLarge, open_packed, unpack

ALLOWED = 1 << 20


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits as they are, but for the size that any file may have: real ones take long to make."""
    monkeypatch.setattr(unpacking, "ALLOWED", ALLOWED)


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}
# Lines that shrink a few times, as text does.
TEXT = "".join(f"{i * 7919 % 10007} rivers carry {i * 31 % 997} stones\n" for i in range(5_000)).encode()


def unpacked(data: bytes) -> bytes:
    stream, account = open_packed(io.BytesIO(data), len(data))
    return unpack(stream, "a", account).read()


@pytest.mark.parametrize("suffix", COMPRESS)
def test_what_was_compressed_comes_out_again(suffix: str, tmp_path: Path) -> None:
    assert unpacked(COMPRESS[suffix](TEXT)) == TEXT
    file = tmp_path / f"rows.jsonl.{suffix}"
    file.write_bytes(COMPRESS[suffix](b'{"text": "one"}\n{"text": "two"}\n'))
    found = list(read_file(file, file.name))
    assert [(one.text, one.kind) for one in found if isinstance(one, Found)] == [
        ("one", "JSONL"),
        ("two", "JSONL"),
    ]


def test_a_file_of_several_streams_is_read_to_its_end() -> None:
    assert unpacked(gzip.compress(b"one ") + gzip.compress(b"two")) == b"one two"
    assert unpacked(zstd(b"one ") + zstd(b"two")) == b"one two"


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kept", [0.99, 0.5, 0.01])
def test_a_file_that_is_cut_off_is_told(suffix: str, kept: float) -> None:
    packed = COMPRESS[suffix](TEXT)
    with pytest.raises(NotWhole):
        unpacked(packed[: int(len(packed) * kept)])


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])  # zstd has a checksum only where it was asked for
def test_a_file_with_a_damaged_byte_is_told(suffix: str) -> None:
    packed = bytearray(COMPRESS[suffix](TEXT))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(NotWhole):
        unpacked(bytes(packed))


def test_text_that_begins_like_a_compression_is_text() -> None:
    assert unpacked(b"BZh9 is how bzip2 begins") == b"BZh9 is how bzip2 begins"


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_bomb_is_stopped_and_text_that_shrinks_much_is_not(suffix: str) -> None:
    bomb = COMPRESS[suffix](b"a\n" * (ALLOWED * 2))
    with pytest.raises(TooLarge, match="more than 250 bytes come out of each of its bytes"):
        unpacked(bomb)
    assert len(unpacked(COMPRESS[suffix](b"a\n" * (ALLOWED // 4)))) == ALLOWED // 2


def test_must_show_6_bomb_cut_off_and_lying_files_get_a_line_each(
    run_collect: Callable[..., Artifact], tmp_path: Path
) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "a-good.txt").write_text("first")
    (root / "bomb.txt.gz").write_bytes(gzip.compress(b"a\n" * ALLOWED))
    with zipfile.ZipFile(root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"{number}.txt", b"a\n" * ALLOWED)
    (root / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "before the cut"}\n' * 9999)[:-20])
    (root / "lies.txt").write_bytes(b"\xff\xfe" + b"no UTF-16" * 3)
    (root / "lies.html").write_bytes(b'<html><meta charset="utf-8"><p>caf\xe9</p>')
    (root / "z-good.txt").write_text("last")
    artifact = run_collect({"path": str(root)})
    report = json.loads((artifact.path / "collection.json").read_text())["skipped"]
    assert {reason: entry["count"] for reason, entry in report.items()} == {
        "too large": 2,
        "not a whole gzip file": 1,
        "not in the encoding it states": 1,
        "not UTF-8": 1,
    }
    assert [one[:12] for one in report["too large"]["examples"]] == ["bomb.txt.gz:", "bomb.zip: mo"]
    texts = [one.text for one in read_documents(artifact.path)]
    assert texts[0] == "first" and texts[-1] == "last"
    assert set(texts[1:-1]) <= {"before the cut", "a\n" * ALLOWED}


def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "bomb.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=9) as stream:
        for _ in range(16):
            stream.write(b" " * (1 << 20))
    tracemalloc.start()
    found = list(read_file(file, file.name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [type(one) for one in found] == [Skipped]
    assert found[0].reason == "too large"  # type: ignore[union-attr]
    assert peak < 12 << 20
