"""The members of zip and tar archives, each like a file of its own. Nothing is written to disk."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from exnihilo.corpus.findings import Skipped
from exnihilo.corpus.unpack import NotWhole, PackedFile, members

Member = tuple[str, io.BufferedReader]  # the name that documents carry: archive/path, and the bytes

_HIDDEN = frozenset({"__pycache__", "node_modules", "__MACOSX"})
_ENCRYPTED = 0x1


def zip_members(stream: io.BufferedReader, name: str, account: PackedFile) -> Iterator[Member | Skipped]:
    """The files of a zip archive by name; a member is to be read before the next is asked for.

    Raises NotWhole for an archive whose directory cannot be read.
    """
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise NotWhole("zip", name, str(error)) from error
    with archive:
        before = None
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            inside = _member_name(name, info.filename)
            if info.is_dir():
                continue
            if info.filename == before:
                yield Skipped("listed twice", inside)
            elif _is_hidden(info.filename):
                yield Skipped("hidden or generated", inside)
            elif info.flag_bits & _ENCRYPTED:
                yield Skipped("encrypted", f"{inside}: unpack it first")
            else:
                try:
                    opened = archive.open(info)
                except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
                    yield Skipped("not a whole zip file", f"{inside}: {error}")
                    continue
                with opened:
                    yield inside, members(opened, "zip", inside, account)
            before = info.filename


def tar_members(stream: io.BufferedReader, name: str, account: PackedFile) -> Iterator[Member | Skipped]:
    """The regular files of a tar archive in their order there, which is read once from front to end.

    Raises NotWhole for an archive that is damaged.
    """
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for info in archive:
                # tarfile keeps every header it has read, for members that nobody will ask for.
                archive.members = []  # type: ignore[attr-defined]
                inside = _member_name(name, info.name)
                if info.isdir():
                    continue
                if not info.isreg():
                    yield Skipped("not a regular file", inside)
                elif inside in seen:
                    yield Skipped("listed twice", inside)
                elif _is_hidden(info.name):
                    yield Skipped("hidden or generated", inside)
                else:
                    seen.add(inside)
                    opened = archive.extractfile(info)
                    if opened is not None:
                        # Where one member is cut off, there is no next: it is the archive that is not whole.
                        yield inside, members(opened, "tar", name, account)
    except tarfile.TarError as error:
        raise NotWhole("tar", name, str(error)) from error


def _is_hidden(path: str) -> bool:
    parts = [part for part in PurePosixPath(path).parts if part not in (".", "..")]
    return any(part.startswith(".") or part in _HIDDEN for part in parts)


def _member_name(archive: str, path: str) -> str:
    """The name of a member; bytes that are not UTF-8 become `\\xe9`, as in the names of files."""
    path = os.fsencode(path.replace("\\", "/")).decode("utf-8", "backslashreplace")
    return f"{archive}/{path.removeprefix('./')}"
