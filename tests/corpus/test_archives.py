"""Members of archives, each a file of its own."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file

MEMBERS = {
    "b/note.md": b"# Note",
    "a.txt": b"text",
    "rows.jsonl.gz": gzip.compress(b'{"text": "row"}\n'),
    "cut.txt.gz": gzip.compress(b"cut off" * 999)[:-9],
    "inner.zip": b"PK\x03\x04",
    ".git/config": b"hidden",
    "z.txt": b"the last",
}


def write_zip(file: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return file


def write_tar(file: Path, mode: str) -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        for name, data in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return file


def read(file: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    texts: dict[str, str] = {}
    reasons: dict[str, list[str]] = {}
    for one in read_file(file, file.name):
        if isinstance(one, Found):
            texts[str(one.meta["path"])] = one.text
        else:
            reasons.setdefault(one.reason, []).append(one.example)
    return texts, reasons


@pytest.mark.parametrize(
    ("name", "mode"), [("t.zip", ""), ("t.tar", "w"), ("t.tgz", "w:gz"), ("t.tar.xz", "w:xz"), ("t", "w:bz2")]
)
def test_members_are_files(tmp_path: Path, name: str, mode: str) -> None:
    file = write_tar(tmp_path / name, mode) if mode else write_zip(tmp_path / name)
    texts, reasons = read(file)
    assert texts == {
        f"{name}/b/note.md": "# Note",
        f"{name}/a.txt": "text",
        f"{name}/rows.jsonl.gz": "row",
        f"{name}/z.txt": "the last",
    }
    assert [one[: len(name) + 12] for one in reasons.pop("not a whole gzip file")] == [f"{name}/cut.txt.gz:"]
    assert reasons.pop("an archive in an archive") == [f"{name}/inner.zip: unpack it first"]
    assert reasons.pop("hidden or generated") == [f"{name}/.git/config"]
    assert reasons == ({"not a regular file": [f"{name}/link.txt"]} if mode else {})


def test_an_archive_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    for mode, name, kind in (("w", "t.tar", "tar"), ("w:gz", "t.tar.gz", "gzip")):
        file = write_tar(tmp_path / name, mode)
        data = file.read_bytes()
        file.write_bytes(data[:1600] if mode == "w" else data[: len(data) // 3])
        reasons = read(file)[1]
        assert [len(reasons.get(f"not a whole {kind} file", [])), "t.tar" in str(reasons)] == [1, True]
    file = write_zip(tmp_path / "t.zip")
    file.write_bytes(file.read_bytes()[:-30])
    assert list(read(file)[1]) == ["not a whole zip file"]


def test_a_damaged_member_does_not_stop_the_others(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "t.zip", zipfile.ZIP_STORED)
    file.write_bytes(file.read_bytes().replace(b"# Note", b"# Mote"))
    texts, reasons = read(file)
    assert "t.zip/z.txt" in texts and "t.zip/b/note.md" not in texts
    assert [one.partition(":")[0] for one in reasons["not a whole zip file"]] == ["t.zip/b/note.md"]


def test_a_member_that_is_listed_twice_is_read_once(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for data in (b"first", b"second"):
            info = tarfile.TarInfo("./a.txt")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    found = list(read_file(tmp_path / "t.tar", "t.tar"))
    assert [one.text for one in found if isinstance(one, Found)] == ["first"]
    assert [one for one in found if isinstance(one, Skipped)] == [Skipped("listed twice", "t.tar/a.txt")]
