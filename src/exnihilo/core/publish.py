"""Publication of an artifact: hash, manifest last, rename. A crash leaves the old or the new one whole."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from exnihilo.core import provenance
from exnihilo.core.artifact import MANIFEST, SCHEMA, read_manifest
from exnihilo.core.config import Config, references
from exnihilo.core.errors import ExnihiloError
from exnihilo.core.files import file_table, sync, sync_folder, table_hash, write_json
from exnihilo.core.keys import key_of
from exnihilo.core.machine import describe
from exnihilo.core.session import RECORD, Session, partial_of, set_aside
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace


def write_manifest(
    stage: Stage,
    config: Config,
    inputs: Inputs,
    out: Path,
    *,
    name: str,
    seed: int,
    work: Workspace,
    session: Session,
) -> None:
    """Hash what the stage wrote and write its manifest: from here on the partial folder is complete."""
    folder = partial_of(out)
    files = file_table(folder)
    if not files:
        raise ExnihiloError(f"{name}: the stage {stage.verb} wrote no files; nothing to publish")
    manifest = {
        "schema": SCHEMA,
        "kind": stage.kind,
        "stage": name,
        "do": stage.verb,
        "key": key_of(session.parts),
        "content": table_hash(files),
        "files": files,
        "config": provenance.portable(config.model_dump(mode="json", by_alias=True), out),
        "inputs": provenance.input_records(inputs, references(stage.config), out),
        "ingredients": dict(session.parts),
        "seed": seed,
        "code": provenance.code(),
        "libraries": provenance.libraries(),
        "machine": describe(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(session.seconds, 3),
        "continued": session.continued,
        "metrics": work.summary,
        "provenance": work.provenance or provenance.inherited(inputs),
        "lines": work.lines,
    }
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)
    write_json(folder / MANIFEST, manifest)


def finish(out: Path, key: str) -> bool:
    """Publish a partial folder that is complete: one just built, or one whose process died at this point.

    The old artifact, if any, moves to `.replaced/` and the folder takes its place: two renames. A crash
    between them leaves the old one whole in `.replaced/` and the new one complete, to be published at the
    next build.
    """
    folder = partial_of(out)
    if not (folder / MANIFEST).is_file() or read_manifest(folder)["key"] != key:
        return False
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / RECORD).unlink(missing_ok=True)
    sync_folder(folder)
    if out.exists():
        set_aside(out)
    folder.rename(out)
    sync_folder(out.parent)
    return True
