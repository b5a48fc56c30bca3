"""Where an artifact comes from: the code and libraries that made it, its inputs, its data's sources."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from exnihilo import __version__
from exnihilo.core.artifact import MANIFEST, content_of, read_manifest

LIBRARIES = (
    "torch",
    "numpy",
    "tokenizers",
    "safetensors",
    "pyarrow",
    "pydantic",
    "jinja2",
    "resiliparse",
    "fastwarc",
    "ftfy",
    "py3langid",
    "xxhash",
)


@cache
def code() -> dict[str, Any]:
    """{"version", "commit", "dirty"}: commit and dirty are None outside of a git checkout of this package."""
    folder = Path(__file__).parents[1]
    # A package installed inside another project's checkout is not that project's code.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"version": __version__, "commit": None, "dirty": None}
    status = _git(folder, "status", "--porcelain", "--", ".")
    return {"version": __version__, "commit": _git(folder, "rev-parse", "HEAD"), "dirty": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def libraries() -> dict[str, str]:
    """Versions of the installed libraries that results depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def each_input(inputs: Mapping[str, Path | dict[str, Path]]) -> Iterator[tuple[str, str, Path]]:
    """(field, name, path) of every input, in the order given; a single input is named by its folder."""
    for field, given in inputs.items():
        if isinstance(given, Mapping):
            for name, path in given.items():
                yield field, name, path
        else:
            yield field, given.name, given


def input_records(
    inputs: Mapping[str, Path | dict[str, Path]], kinds: Mapping[str, str], out: Path
) -> list[dict[str, Any]]:
    """[{"field", "name", "path", "kind", "content"}], paths relative to the artifact.

    Raises Refused where `content_of` does.
    """
    records = []
    for field, name, path in each_input(inputs):
        kind, content = content_of(path, kind=kinds.get(field))
        records.append(
            {"field": field, "name": name, "path": relative(path, out), "kind": kind, "content": content}
        )
    return records


def relative(path: Path | str, out: Path) -> str:
    """A path as seen from an artifact's folder, with forward slashes."""
    return Path(os.path.relpath(Path(path).absolute(), out.absolute())).as_posix()


def portable(value: Any, out: Path) -> Any:
    """A config's values with absolute paths made relative to the artifact, so that a run can be moved."""
    if isinstance(value, Mapping):
        return {key: portable(one, out) for key, one in value.items()}
    if isinstance(value, list):
        return [portable(one, out) for one in value]
    if isinstance(value, str) and value.startswith("/") and value != "/" and Path(value).exists():
        return relative(value, out)
    return value


def inherited(inputs: Mapping[str, Path | dict[str, Path]]) -> list[dict[str, Any]]:
    """The data provenance of all inputs together; of entries for one source, licence, generator and unit the
    largest, since inputs of one stage were often made from the same data."""
    manifests = (read_manifest(path) for _, _, path in each_input(inputs) if (path / MANIFEST).is_file())
    return largest(entry for manifest in manifests for entry in manifest["provenance"])


def largest(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each source, licence, generator and unit: the largest."""
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in entries:
        key = tuple(entry.get(part) for part in ("source", "licence", "generator", "unit"))
        if key not in best or entry.get("amount", 0) > best[key].get("amount", 0):
            best[key] = entry
    return list(best.values())
