"""Source-code repositories, a folder or an archive of one: what people wrote in them, and under which licence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from exnihilo.corpus.code_rules import language_of, why_not_path, why_not_text
from exnihilo.corpus.files import list_files, place_name
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file
from exnihilo.corpus.sniff import Format
from exnihilo.corpus.spdx import is_licence_file, spdx_of

_WRITTEN = frozenset(
    {Format.SOURCE_CODE, Format.MARKDOWN, Format.RESTRUCTURED_TEXT, Format.TEXT, Format.LATEX, Format.HTML}
)


def read_repository(path: Path) -> tuple[str | None, Iterator[Iterable[Found | Skipped]]]:
    """The licence of a repository, if its licence file is a common one, and what each of its files holds.

    `meta` has `repository`, the file's `path` in it and its `language`. Two licence files are joined by AND: which
    of them one may choose, they do not say. Raises ConfigError where nothing is at the path.
    """
    repository = place_name(path)
    listed = list_files(path)
    licence = " AND ".join(sorted({one for one in map(spdx_of, _licence_texts(path, listed)) if one}))

    def read() -> Iterator[Iterable[Found | Skipped]]:
        for item in listed:
            if isinstance(item, Skipped):
                yield [item]
            else:
                yield (_judged(one, repository) for one in _read(path, item))

    return licence or None, read()


def _read(path: Path, item: tuple[str, Path]) -> Iterator[Found | Skipped]:
    name, file = item
    # A file of a folder is told by its path; an archive is opened to see what is in it.
    reason = why_not_path(name) if path.is_dir() else None
    if reason:
        yield Skipped(reason, name)
    else:
        yield from read_file(file, name)


def _judged(found: Found | Skipped, repository: str) -> Found | Skipped:
    if isinstance(found, Skipped):
        return found
    path = str(found.meta["path"])
    reason = why_not_path(path)
    if reason is None and found.kind not in _WRITTEN:
        reason = "data"
    reason = reason or why_not_text(found.text)
    if reason:
        return Skipped(reason, path)
    language = language_of(path)
    return replace(
        found, meta=found.meta | {"repository": repository} | ({"language": language} if language else {})
    )


def _licence_texts(path: Path, listed: list[tuple[str, Path] | Skipped]) -> Iterator[str]:
    """The texts of the licence files at the top: of the folder, or of the one folder that an archive has."""
    top = 1 if path.is_dir() else 3  # archive, folder, file
    for item in listed:
        if isinstance(item, Skipped) or (path.is_dir() and not _is_licence(item[0], top)):
            continue
        for found in read_file(item[1], item[0]):
            if isinstance(found, Found) and _is_licence(str(found.meta["path"]), top):
                yield found.text


def _is_licence(path: str, top: int) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) <= top and is_licence_file(parts[-1])
