"""The running Python's standard library as documents: the source of its modules, and their documentation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence, Set
from pathlib import Path, PurePosixPath

from exnihilo.core.config import nearest
from exnihilo.core.errors import ConfigError, ExnihiloError, Refused
from exnihilo.corpus import python_docs
from exnihilo.corpus.decode import decode
from exnihilo.corpus.findings import Found, Skipped

LICENCE = "PSF-2.0"
SOURCE = "Python source"
DOCUMENTATION = "Python documentation"

_NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__", "lib-dynload", "_bundled"})
_TESTS = frozenset({"test", "tests", "idle_test"})
# The lines that gencodec.py writes into the character tables under encodings/.
_TABLE_MARKS = ("### Decoding Table", "decoding_table = (")
# Importing these does something that nobody asked for: opens a browser, prints a poem, starts a program.
_NOT_IMPORTED = frozenset({"antigravity", "this", "idlelib", "turtledemo", "test", "lib2to3", "__main__"})
# Lent to other modules, where their functions are documented.
_LENDERS = python_docs.LENDERS


def library_files(stdlib: Path) -> list[tuple[str, str | None]]:
    """(path below the library, why it is left out or None) of every .py file, sorted."""
    found: list[tuple[str, str | None]] = []
    for folder, folders, files in os.walk(stdlib):
        # `config-3.11-x86_64-linux-gnu` and its like hold what this interpreter was built with.
        folders[:] = [name for name in folders if name not in _NOT_LIBRARY and "-" not in name]
        for name in files:
            if name.endswith(".py"):
                path = (Path(folder) / name).relative_to(stdlib).as_posix()
                found.append((path, _left_out(path)))
    return sorted(found)


def _left_out(path: str) -> str | None:
    if not _TESTS.isdisjoint(PurePosixPath(path).parts[:-1]):
        return "tests"
    return "build data of this machine" if path.startswith("_sysconfigdata") else None


def module_of(path: str) -> str:
    """ "json/decoder.py" -> "json.decoder", "json/__init__.py" -> "json"."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def read_library(modules: Sequence[str] | None = None) -> Iterator[Found | Skipped]:
    """Source and documentation of the library, or of modules and packages in it: `["json", "email.mime"]`.

    Paths in `meta` are relative to the library's folder; a compiled module without a source has its name as
    its path. A module's two documents have the same path. Raises ConfigError for a name that the library does
    not have, Refused where the library is no folder.
    """
    stdlib = Path(sysconfig.get_path("stdlib"))
    if not stdlib.is_dir():
        raise Refused(
            f"{stdlib}: the standard library is no folder; run this with an ordinary Python installation"
        )
    every = library_files(stdlib)
    _check_names(modules, {module_of(path) for path, _ in every} | sys.stdlib_module_names)
    files = [(path, reason) for path, reason in every if _wanted(module_of(path), modules)]
    documented: list[tuple[str, str]] = []
    for path, reason in files:
        found = Skipped(reason, path) if reason else _read_source(stdlib, path)
        if isinstance(found, Found) and _is_documented(module_of(path)):
            documented.append((module_of(path), path))
        yield found
    known = {module_of(path) for path, _ in files}
    compiled = [name for name in sys.stdlib_module_names if name not in known and _wanted(name, modules)]
    documented += [(name, name) for name in compiled if _is_documented(name)]
    yield from read_documentation(sorted(documented))


def _check_names(names: Sequence[str] | None, known: Set[str]) -> None:
    for name in names or ():
        if not any(_wanted(module, [name]) for module in known):
            meant = nearest(name, sorted(known))
            hint = f"; did you mean '{meant}'?" if meant else ""
            raise ConfigError(f"modules: the standard library has no '{name}'{hint}")


def _wanted(module: str, modules: Sequence[str] | None) -> bool:
    return modules is None or any(module == name or module.startswith(f"{name}.") for name in modules)


def _is_documented(module: str) -> bool:
    parts = module.split(".")
    if parts[0] in _NOT_IMPORTED | _LENDERS:
        return False
    return not any(part.startswith("_") for part in parts)


def _read_source(stdlib: Path, path: str) -> Found | Skipped:
    text = decode((stdlib / path).read_bytes(), path)
    if isinstance(text, Skipped):
        return text
    if path.startswith("encodings/") and any(mark in text for mark in _TABLE_MARKS):
        return Skipped("character tables", path)
    return Found(text, SOURCE, {"module": module_of(path), "path": path})


def read_documentation(modules: Sequence[tuple[str, str]]) -> Iterator[Found | Skipped]:
    """The documentation of (module, path) pairs, rendered in an interpreter of its own.

    -I and -S keep the user's environment and installed packages out: some of them alter the library.
    """
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", python_docs.__file__]
    done = subprocess.run(command, input=json.dumps(modules).encode(), capture_output=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise ExnihiloError(f"rendering the library's documentation ended with {done.returncode}: {last}")
    for line in done.stdout.splitlines():
        record = json.loads(line)
        module = record["module"]
        if "problem" in record:
            yield Skipped("not importable here", f"{module} ({record['problem']})")
        elif not record["text"]:
            yield Skipped("no documentation", module)
        else:
            yield Found(
                record["text"], DOCUMENTATION, {"module": module, "path": record["path"]}, index=module
            )
