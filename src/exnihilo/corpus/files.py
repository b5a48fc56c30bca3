"""The files that a path names: a file, a folder, a glob."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.findings import Skipped
from exnihilo.corpus.sniff import without_compression

_WILDCARD = re.compile(r"[*?\[]")
_URL = re.compile(r"\w{2,}:/")  # of "s3://a" as a path one slash is left
_NOT_DESCENDED = frozenset({"__pycache__", "node_modules"})

Listed = tuple[str, Path]  # the path that documents carry (relative, with "/"), and where the file is


def list_files(path: Path) -> list[Listed | Skipped]:
    """The files that a file, a folder (all the way down) or a glob names, sorted by their relative path.

    Hidden files and folders are skipped, links to folders not followed. Raises ConfigError where nothing is.
    """
    path = path.expanduser()
    if path.is_dir():
        return _sorted(_walk(path, path))
    if path.exists():
        return [(_written(Path(path.name)), path)]
    if _WILDCARD.search(str(path)):
        base = _fixed_part(path)
        listed: list[Listed | Skipped] = []
        for match in glob.glob(str(path), recursive=True):  # noqa: PTH207  (the pattern may be absolute)
            listed.extend(_walk(Path(match), base) if Path(match).is_dir() else [_listed(Path(match), base)])
        return _sorted(dict.fromkeys(listed))
    if _URL.match(str(path)):
        raise ConfigError(f"{path}: a URL, not a path; give it as `url` in place of `path`")
    raise ConfigError(f"{path}: no such file or folder; give the path of a file, a folder or a glob")


def place_name(path: Path) -> str:
    """The name of the source at a path: a file without its suffixes, a folder, the folder of a glob."""
    place = _fixed_part(path.expanduser()).resolve()
    if not place.is_file():
        return place.name or "files"
    return PurePath(without_compression(place.name)).stem


def _fixed_part(path: Path) -> Path:
    """A path up to its first part with a wildcard."""
    if path.exists():
        return path
    return Path(*itertools.takewhile(lambda part: not _WILDCARD.search(part), path.parts))


def _sorted(listed: Iterator[Listed | Skipped] | dict[Listed | Skipped, None]) -> list[Listed | Skipped]:
    return sorted(listed, key=lambda item: item.example if isinstance(item, Skipped) else item[0])


def _walk(folder: Path, base: Path) -> Iterator[Listed | Skipped]:
    for parent, folders, files in os.walk(folder):
        inside = Path(parent)
        for name in [name for name in folders if name.startswith(".") or name in _NOT_DESCENDED]:
            folders.remove(name)
            yield Skipped("hidden or generated", _written((inside / name).relative_to(base)) + "/")
        for name in files:
            if name.startswith("."):
                yield Skipped("hidden or generated", _written((inside / name).relative_to(base)))
            else:
                yield _listed(inside / name, base)


def _listed(path: Path, base: Path) -> Listed | Skipped:
    name = _written(path.relative_to(base))
    if not path.is_file():  # a pipe would wait for ever, a dangling link has nothing
        return Skipped("not a regular file", name)
    return name, path


def _written(relative: Path) -> str:
    """A relative path as text; bytes of a name that are not UTF-8, which no text can hold, become `\\xe9`."""
    return os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace")
