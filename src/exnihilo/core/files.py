"""Durable writing and hashing of files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from blake3 import blake3

from exnihilo.core.errors import ExnihiloError

RECORDS = frozenset(
    {
        "manifest.json",
        "metrics.jsonl",
        "samples.jsonl",
        "norms.jsonl",
        "advice.jsonl",
        "trace.json",
        "profile.json",
        "README.md",
        "partial.json",
        "log.txt",
    }
)
"""Names at the top of an artifact that hold times and remarks: not content, left out of its hash."""

TEMPORARY = ".tmp"


@contextmanager
def atomic_stream(path: Path | str) -> Iterator[BinaryIO]:
    """A stream whose bytes appear at `path` whole, or not at all: a temporary file beside it, fsync, rename.

    Raises ExnihiloError when the disk refuses; what was at `path` before is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ExnihiloError(f"{path}: cannot write ({reason}); check space and permissions") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path | str, data: str | bytes) -> None:
    """Write a file whole or not at all (see `atomic_stream`)."""
    with atomic_stream(path) as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written in a folder: files of `atomic_stream`, whole checkpoints."""
    for path in list(folder.rglob(f".*{TEMPORARY}")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # it may have been in one of the folders


def write_json(path: Path | str, value: Any) -> None:
    """Write readable JSON, whole or not at all. Raises ValueError for NaN, which JSON has not."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sync(path: Path) -> None:
    """Make the bytes of a file durable."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable: a rename survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_hash(path: Path) -> str:
    """blake3 of a file's bytes, in hexadecimal."""
    path.open("rb").close()  # whose errors name the file, as those of a memory map do not
    return blake3().update_mmap(path).hexdigest() if path.stat().st_size else blake3().hexdigest()


def file_table(folder: Path, *, exclude: frozenset[str] = RECORDS) -> dict[str, dict[str, Any]]:
    """{relative path: {"bytes", "blake3"}} of a folder's content, without checkpoints and `exclude`."""
    table: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in exclude and not name.startswith("checkpoints/"):
            table[name] = {"bytes": path.stat().st_size, "blake3": file_hash(path)}
    return table


def table_hash(table: dict[str, dict[str, Any]]) -> str:
    """The content hash of a file table: blake3 over (relative path, blake3 of the bytes), by sorted path."""
    digest = blake3()
    for name in sorted(table):
        digest.update(f"{name}\0{table[name]['blake3']}\n".encode())
    return digest.hexdigest()


def content_hash(folder: Path | str, *, exclude: frozenset[str] = RECORDS) -> str:
    """What a folder holds, as one hash: no times, host names or absolute paths enter it."""
    return table_hash(file_table(Path(folder), exclude=exclude))
