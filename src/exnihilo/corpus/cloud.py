"""Objects in a store (`s3://…`, `gs://…`, `hf://…`, whatever fsspec reaches), listed and read as streams."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from exnihilo.core.errors import ConfigError, ExnihiloError, MissingExtra
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_stream

_WILDCARD = re.compile(r"[*?\[]")
_NOT_DESCENDED = frozenset({"__pycache__", "node_modules"})
# What stores say of an object that changes with its bytes; else its size and the time of its last change do.
_CHECKSUMS = ("ETag", "etag", "md5Hash", "content_md5", "crc32c", "blob_id", "oid", "checksum")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class StoredObject:
    """An object: the name that its documents carry, where it is, its size in bytes and a mark of its content."""

    name: str
    path: str
    size: int
    state: str
    store: Any  # the file system of fsspec

    def read(self, text_field: str | None = None) -> Iterator[Found | Skipped]:
        """The texts in it, read from front to end as they come; what is no text is skipped."""
        try:
            with self.store.open(self.path, "rb") as stream:
                yield from read_stream(stream, self.size, self.name, text_field)
        except OSError as error:
            yield Skipped("not readable", f"{self.name}: {error.strerror or error}")


def list_objects(url: str) -> list[StoredObject | Skipped]:
    """The objects that a URL names (one, all below a prefix, a glob), sorted by name; hidden ones are skipped.

    Raises MissingExtra without the library of that store, ConfigError where nothing is, and ExnihiloError where
    the store does not answer.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtra("cloud", needed_for=f"reading {url}") from error
    try:
        store, path = url_to_fs(url)
    except ImportError as error:
        extra = "hub" if url.startswith("hf:") else "cloud"
        raise MissingExtra(extra, needed_for=f"reading {url}") from error
    except ValueError as error:
        raise ConfigError(f"url: {url}: {error}; give s3://…, gs://… or hf://…") from error
    try:
        base, found = _find(store, path)
    except FileNotFoundError:
        base, found = path, {}
    except OSError as error:
        raise ExnihiloError(
            f"url: {url}: {error.strerror or error}; check the network and your rights"
        ) from error
    if not found:
        raise ConfigError(f"url: {url}: nothing is there; give an object, a prefix or a glob that exists")
    return [_listed(store, at, base, found[at]) for at in sorted(found)]


def _find(store: Any, path: str) -> tuple[str, Mapping[str, dict[str, Any]]]:
    """The folder that names are relative to, and the objects with what is known of them."""
    if _WILDCARD.search(path):
        parts = path.split("/")
        fixed = next(at for at, part in enumerate(parts) if _WILDCARD.search(part))
        found = store.glob(path, detail=True)
        return "/".join(parts[:fixed]), {at: known for at, known in found.items() if known["type"] == "file"}
    if store.isfile(path):
        return path.rpartition("/")[0], {path: store.info(path)}
    return path, store.find(path, detail=True)


def _listed(store: Any, path: str, base: str, known: dict[str, Any]) -> StoredObject | Skipped:
    name = path.removeprefix(base).strip("/")
    if any(part.startswith(".") or part in _NOT_DESCENDED for part in PurePosixPath(name).parts):
        return Skipped("hidden or generated", name)
    size = int(known.get("size") or 0)
    marks = [known[key] for key in _CHECKSUMS if known.get(key)] or [
        known[key] for key in _TIMES if known.get(key)
    ]
    return StoredObject(name, path, size, f"{size} {marks[0] if marks else ''}", store)


def url_name(url: str) -> str:
    """The name of the source at a URL: the last part of it that has no wildcard, without its suffix."""
    parts = [part for part in re.sub(r"^\w+://", "", url).split("/") if part]
    fixed = next((at for at, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    return PurePosixPath(parts[fixed - 1]).stem if fixed else "objects"
