"""Building an artifact: decide whether it must be made, work in a partial folder, publish it whole."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from exnihilo.core.artifact import MANIFEST, Artifact, read_manifest
from exnihilo.core.config import Config
from exnihilo.core.disk import disk_errors_told
from exnihilo.core.errors import ExnihiloError, Interrupted, OutOfMemory
from exnihilo.core.events import EventLog
from exnihilo.core.keys import damage_of, ingredients, key_of
from exnihilo.core.lock import hold
from exnihilo.core.memory import is_out_of_memory
from exnihilo.core.provenance import each_input
from exnihilo.core.publish import finish, write_manifest
from exnihilo.core.seeds import derive
from exnihilo.core.session import open_session, partial_of
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.stopping import stop_signal
from exnihilo.core.workspace import Workspace

SMALLER = "give it fewer rows at a time (micro_rows, rows, batch), shorter ones, or a smaller model"


def build(
    stage: Stage,
    config: Config,
    inputs: Inputs,
    out: Path,
    *,
    seed: int,
    name: str | None = None,
    resume: str = "auto",
    force: bool = False,
) -> Artifact:
    """Make the artifact `out`, or return it if it is there and current (`force` makes it again).

    Work goes on in `<out>.partial/`. `resume` says what becomes of one that is there: "auto" continues it if
    it was begun with the same config, inputs and seed, "never" starts again, "must" refuses to start again,
    and a path names a checkpoint for the stage. The manifest is written last and the folder renamed, so that
    `out` is whole or absent; what it replaces moves to `.replaced/` beside it. Events go to the folder that
    holds `out`.

    `work.seed` is derived from `seed` and the verb: stages have streams of their own.

    Raises Refused (another process works there, an input is missing, "must" cannot be met, `out` is something
    else), Interrupted after a signal, OutOfMemory, ExnihiloError where the disk is full, and what the stage
    raises; the partial folder then stays.
    """
    out = out.absolute()
    name = name or out.name
    log = EventLog(out.parent)
    number: int | None = None
    with hold(out.parent / f".{out.name}.lock", out), disk_errors_told(out):
        parts = ingredients(stage, config, inputs, out, seed)
        key = key_of(parts)
        finish(out, key)
        current = out.exists() and read_manifest(out)["key"] == key
        if current and not force and not damage_of(out):
            return Artifact.open(out)
        _verify(inputs)
        session = open_session(out, config, parts, resume, name, log)
        with stop_signal() as stopped:
            work = Workspace(
                partial_of(out),
                seed=derive(seed, stage.verb),
                stage=name,
                resume=resume,
                log=log,
                stop_signal=stopped,
            )
            try:
                stage.run(config, inputs, work)
                write_manifest(stage, config, inputs, out, name=name, seed=seed, work=work, session=session)
            except BaseException as error:
                # On a full disk the seconds can't be noted either; what happened is what must be told.
                with suppress(ExnihiloError, OSError):
                    session.close()
                if is_out_of_memory(error):
                    raise OutOfMemory(f"{name}: out of memory; {SMALLER}") from error
                raise
            session.close()
            finish(out, key)
            number = stopped()
    if number is not None:
        # The stage ran to its end, but whoever asked to stop wants the next one not to begin.
        raise Interrupted(number)
    return Artifact.open(out)


def _verify(inputs: Inputs) -> None:
    """Compare every file of the artifacts that will be read with its hash. Raises Refused for an altered one.

    One core hashes more than a gigabyte a second; a flipped bit in weights would go unnoticed for ever.
    """
    for _, _, path in each_input(inputs):
        if (path / MANIFEST).is_file():
            Artifact.open(path, verify=True)
