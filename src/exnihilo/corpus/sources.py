"""The sources of a corpus, opened: each text in them becomes a document with an id and its provenance."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from exnihilo.core.documents import Document
from exnihilo.core.errors import ConfigError
from exnihilo.core.files import file_hash
from exnihilo.corpus import cloud, hub, python_library
from exnihilo.corpus.files import Listed, list_files, place_name
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file
from exnihilo.corpus.repository import read_repository
from exnihilo.corpus.source_config import (
    HubSource,
    ObjectSource,
    PathSource,
    PythonSource,
    RepositorySource,
    Source,
)

Taken = dict[tuple[str, str], Path | str]  # (name of the source, relative path) -> the file read for it

UNKNOWN = "unknown"
_PYTHON_SOURCES = {
    python_library.SOURCE: ("python-source", ""),
    python_library.DOCUMENTATION: ("python-docs", "introspection"),
}


@dataclass(frozen=True)
class OpenSource:
    """A source to read: `groups` gives what each file holds (or, without files, one text at a time)."""

    name: str
    licence: str | None  # None: what a row states
    unit: str
    total: int | None
    groups: Iterator[Iterable[Found | Skipped]]
    notes: Sequence[str] = ()  # what the user should know besides the counts

    def document(self, found: Found) -> Document:
        """A text as a document. Its id depends on source, relative path and place in the file alone."""
        source, generator = _PYTHON_SOURCES.get(found.kind, (self.name, ""))
        identity = blake3(f"{source}\0{found.meta['path']}\0{found.index}".encode()).hexdigest()[:16]
        licence = self.licence or found.licence or UNKNOWN
        return Document(identity, found.text, source, licence, generator, found.meta)


def open_sources(sources: Sequence[Source], text_field: str | None) -> Iterator[OpenSource]:
    """Each source in the order given, its files in the order of their relative paths.

    Raises ConfigError where a path names nothing, or where two sources of one name hold files of one name.
    """
    taken: Taken = {}
    for source in sources:
        if isinstance(source, PythonSource):
            found = ([text] for text in python_library.read_library(source.modules))
            yield OpenSource("python", python_library.LICENCE, "documents", None, found)
            continue
        if isinstance(source, HubSource):
            yield _open_dataset(source, text_field, taken)
            continue
        if isinstance(source, ObjectSource):
            yield _open_objects(source, text_field, taken)
            continue
        if isinstance(source, RepositorySource):
            name = source.source or place_name(source.repository)
            if _once(taken, name, ".", source.repository.resolve()):
                continue
            licence, groups = read_repository(source.repository)
            yield OpenSource(name, source.licence or licence, "files", None, groups)
            continue
        listed = list_files(source.path)
        name = source.source or place_name(source.path)
        yield OpenSource(
            name, source.licence, "files", len(listed), _read_listed(listed, name, text_field, taken)
        )


def _open_objects(source: ObjectSource, text_field: str | None, taken: Taken) -> OpenSource:
    name = source.source or cloud.url_name(source.url)
    listed = cloud.list_objects(source.url)

    def read() -> Iterator[Iterable[Found | Skipped]]:
        for item in listed:
            if isinstance(item, Skipped):
                yield [item]
            else:
                yield _once(taken, name, item.name, item.path) or item.read(text_field)

    return OpenSource(name, source.licence, "files", len(listed), read())


def _open_dataset(source: HubSource, text_field: str | None, taken: Taken) -> OpenSource:
    folder = hub.download(source.hub, source.revision, source.files)
    listed = [
        item
        for item in list_files(folder)
        if not isinstance(item, Skipped) and hub.is_wanted(item[0], source.files)
    ]
    name = source.source or source.hub
    return OpenSource(
        name,
        source.licence or hub.card_licence(folder),
        "files",
        len(listed),
        _read_listed(listed, name, text_field, taken),
        notes=[f"read {source.hub} of the hub at commit {folder.name}"],
    )


def _read_listed(
    listed: Sequence[Listed | Skipped], name: str, text_field: str | None, taken: Taken
) -> Iterator[Iterable[Found | Skipped]]:
    for item in listed:
        if isinstance(item, Skipped):
            yield [item]
            continue
        relative, path = item
        yield _once(taken, name, relative, path.resolve()) or read_file(path, relative, text_field)


def _once(taken: Taken, name: str, relative: str, place: Path | str) -> list[Found | Skipped]:
    """What to say of a file that an earlier source has read; nothing of one that none has."""
    before = taken.get((name, relative))
    if before is None:
        taken[name, relative] = place
        return []
    if before == place:
        return [Skipped("listed twice", relative)]
    raise ConfigError(f"from: two sources called '{name}' hold a file '{relative}'; name them with `source:`")


def fingerprint(sources: Sequence[Source]) -> str:
    """The state of what will be read, as a hash: names and bytes of files, the version of the running Python.

    A dataset of the hub is not looked up: its revision is part of the config.
    """
    digest = blake3()
    for source in sources:
        if isinstance(source, PathSource | RepositorySource):
            path = source.path if isinstance(source, PathSource) else source.repository
            for item in list_files(path):
                if not isinstance(item, Skipped):
                    digest.update(f"{item[0]}\0{file_hash(item[1])}\n".encode())
        elif isinstance(source, ObjectSource):
            for listed in cloud.list_objects(source.url):
                if not isinstance(listed, Skipped):
                    digest.update(f"{listed.name}\0{listed.state}\n".encode())
        elif isinstance(source, PythonSource):
            digest.update(sys.version.encode())
        digest.update(b"\n")
    return digest.hexdigest()
