"""Artifacts: folders with a manifest that says what they are, what they were made from, what they hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from exnihilo.core.errors import Refused
from exnihilo.core.files import RECORDS, content_hash, file_hash, file_table, write_atomic

__all__ = ["MANIFEST", "RECORDS", "Artifact", "content_hash", "content_of", "write_atomic"]

MANIFEST = "manifest.json"
PARTIAL = ".partial"
"""What the folder of a stage under way ends in."""
SCHEMA = 1


@dataclass(frozen=True)
class Artifact:
    """A whole artifact on disk. `content` is the hash of what it holds, whenever and wherever it was made."""

    path: Path
    kind: str
    content: str
    manifest: dict[str, Any]

    @staticmethod
    def open(path: Path | str, *, kind: str | None = None, verify: bool = False) -> Artifact:
        """Open an artifact; checks that its files are there with their sizes and, with `verify`, hashes.

        Raises Refused if it is missing, partial, of another kind, or altered.
        """
        path = Path(path)
        if path.name.endswith(PARTIAL):
            raise Refused(f"{path}: not finished; run its stage again to continue it")
        manifest = read_manifest(path)
        artifact = Artifact(path, manifest["kind"], manifest["content"], manifest)
        if kind is not None and artifact.kind != kind:
            raise Refused(f"{path}: an artifact of kind {artifact.kind}; {kind} is wanted here")
        if verify:
            artifact._verify()
        else:
            artifact._check_sizes()
        return artifact

    def _check_sizes(self) -> None:
        for name, entry in self.manifest["files"].items():
            file = self.path / name
            if not file.is_file():
                raise Refused(f"{file}: missing from its artifact; make it again")
            if file.stat().st_size != entry["bytes"]:
                raise Refused(
                    f"{file}: altered since it was made ({file.stat().st_size} bytes, not {entry['bytes']}); "
                    "make the artifact again"
                )

    def _verify(self) -> None:
        self._check_sizes()
        present = file_table(self.path)
        for name, entry in self.manifest["files"].items():
            if present[name]["blake3"] != entry["blake3"]:
                raise Refused(f"{self.path / name}: altered since it was made; make the artifact again")
        # Hidden files are left by file managers and editors, and no stage reads one.
        added = sorted(name for name in set(present) - set(self.manifest["files"]) if not is_hidden(name))
        if added:
            raise Refused(f"{self.path / added[0]}: not part of its artifact; remove it")


def is_hidden(name: str) -> bool:
    """Whether a relative path leads to a hidden file or through a hidden folder."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of an artifact's folder. Raises Refused if there is none, saying why, or it is broken."""
    file = path / MANIFEST
    if not file.is_file():
        partial = path.with_name(path.name + PARTIAL)
        if not path.exists() and partial.is_dir():
            raise Refused(f"{path}: not finished; run its stage again to continue it")
        if not path.exists():
            raise Refused(f"{path}: no such artifact; check the path or run the stage that makes it")
        raise Refused(f"{path}: not an artifact (it has no {MANIFEST}); give the folder of one")
    manifest: dict[str, Any]
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        complete = isinstance(manifest, dict) and {"kind", "content", "files", "key"} <= manifest.keys()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: broken ({error}); make the artifact again") from error
    if not complete:
        raise Refused(f"{file}: not a manifest of exnihilo; make the artifact again")
    if manifest.get("schema") != SCHEMA:
        raise Refused(f"{file}: schema {manifest.get('schema')}, not {SCHEMA}; use the version that made it")
    return manifest


def content_of(path: Path | str, *, kind: str | None = None) -> tuple[str, str]:
    """(kind, content hash) of an input: an artifact or, where a user brings one, a plain file or folder.

    Raises Refused if nothing is there, or an artifact of another kind than `kind`.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        artifact = Artifact.open(path, kind=kind)
        return artifact.kind, artifact.content
    if path.is_file():
        return "file", file_hash(path)
    if path.is_dir() and not path.name.endswith(PARTIAL):
        return "folder", content_hash(path)
    manifest = read_manifest(path)  # raises: nothing usable is there
    return manifest["kind"], manifest["content"]
