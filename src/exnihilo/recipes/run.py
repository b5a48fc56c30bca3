"""The run: makes in one folder what a recipe lacks, and can be killed at any moment and run again."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from exnihilo.core.artifact import MANIFEST, Artifact
from exnihilo.core.build import build
from exnihilo.core.config import nearest
from exnihilo.core.errors import ConfigError, Interrupted, Refused
from exnihilo.core.events import EventLog
from exnihilo.core.files import TEMPORARY
from exnihilo.core.keys import Status, status
from exnihilo.core.model_card import CARD
from exnihilo.core.progress import clock_time
from exnihilo.core.session import REPLACED, partial_of
from exnihilo.recipes.cards import write_cards
from exnihilo.recipes.record import brought, write_recipe, write_run
from exnihilo.recipes.schema import Planned, Recipe
from exnihilo.recipes.working import working_in


@dataclass(frozen=True)
class Made:
    """What became of a stage: `state` is what was found ("cached", or why it ran), `seconds` the time now."""

    name: str
    state: str
    reasons: list[str]
    seconds: float
    artifact: Artifact

    def record(self) -> dict[str, Any]:
        """For machines; without paths, so that it holds wherever the run lies."""
        return {
            "state": self.state,
            "reasons": self.reasons,
            "seconds": round(self.seconds, 3),
            "kind": self.artifact.kind,
            "content": self.artifact.content,
        }


def run(
    recipe: Recipe,
    folder: Path,
    *,
    command: Sequence[str] = (),
    only: Collection[str] = (),
    resume: str = "auto",
    force: bool = False,
) -> dict[str, Made]:
    """Make what is missing or stale of `recipe` in `folder`, then the report; stderr says what becomes of it.

    `only` names the stages to look at, whose inputs must be there; `force` makes them again even if current;
    `resume` is for stages under way (`core.build`; "must" needs one). `command` is kept in run.json.

    Raises ConfigError (unknown stage), Refused (another process works in `folder`), and what a stage raises.
    """
    from exnihilo.report.report import write_report

    _check_only(recipe, only)
    folder = folder.absolute()
    with working_in(folder) as stopped:
        if (folder / "recipe.yaml").exists() and not (folder / "run.json").exists():
            raise Refused(f"{folder}: holds a recipe.yaml that no run wrote; give another folder with --run")
        chosen = [planned for name, planned in recipe.stages.items() if not only or name in only]
        under_way = [planned.name for planned in chosen if partial_of(folder / planned.name).is_dir()]
        if resume == "must" and not under_way:
            raise Refused(f"{folder}: no stage is under way; run it without --resume must")
        for path in folder.glob(f".*{TEMPORARY}"):
            path.unlink()  # what a killed run was writing: recipe.yaml, run.json, the report
        log = EventLog(folder)
        made: dict[str, Made] = {}
        record = partial(write_run, recipe, folder, command=command, brought=brought(recipe, folder))
        record(stages={})
        write_recipe(recipe, folder)
        for name in recipe.left_out:
            log.write(name, "left out", message="left out, as an input of it is not given")
        for planned in chosen:
            how = "auto" if resume == "must" and planned.name not in under_way else resume
            _leave_if(stopped())
            made[planned.name] = make(
                planned, folder / planned.name, seed=recipe.seed, resume=how, force=force, log=log
            )
            record(stages={name: one.record() for name, one in made.items()})
        _leave_if(stopped())
        report = write_report(folder)
        log.write("run", "finished", message=_closing(folder, report, made))
    return made


def make(planned: Planned, out: Path, *, seed: int, resume: str, force: bool, log: EventLog) -> Made:
    """Make one artifact unless it is there and current, and say which and why."""
    found = look(planned, out, seed=seed, force=force)
    inputs = planned.inputs(out.parent)
    if found.state == "cached":
        log.write(planned.name, "cached", message="cached")
        artifact = Artifact.open(out)
        # A model made again came out the same, with a new card; or a kill came between a model and its card.
        if artifact.kind == "results" or not (out / CARD).exists():
            write_cards(artifact, inputs, out.parent)
        return Made(planned.name, "cached", [], 0.0, artifact)
    log.write(planned.name, "running", message=_opening(found), reasons=found.reasons)
    start = time.monotonic()
    artifact = build(
        planned.stage, planned.config, inputs, out, seed=seed, name=planned.name, resume=resume, force=force
    )
    seconds = time.monotonic() - start
    write_cards(artifact, inputs, out.parent)
    lines = [f"    {line}" for line in artifact.manifest["lines"]]
    done = "\n".join([f"done in {_duration(seconds)}", *lines])
    log.write(planned.name, "done", message=done, seconds=round(seconds, 3))
    return Made(planned.name, found.state, found.reasons, seconds, artifact)


def look(planned: Planned, out: Path, *, seed: int, force: bool = False) -> Status:
    """Whether `make` would have work to do, and why. Raises Refused if an input is missing or altered."""
    for need in planned.needs:
        if not (out.parent / need).exists():
            raise Refused(f"{planned.name}: needs {need}, which is not made yet; run without --only")
    if out.exists() and not (out / MANIFEST).is_file():
        # Nor with --force: what somebody keeps there would end among the replaced artifacts, and be cleaned.
        raise Refused(
            f"{out}: in the way, and not an artifact (it has no {MANIFEST}); move it, or choose another folder"
        )
    if force and out.exists():
        return Status("stale", ["--force is given"], "")
    try:
        if out.exists():
            Artifact.open(out)
    except Refused as error:
        raise Refused(f"{error} (--force makes it again and keeps what is there in {REPLACED})") from error
    return status(planned.stage, planned.config, planned.inputs(out.parent), out, seed=seed)


def plan(
    recipe: Recipe, folder: Path, *, only: Collection[str] = (), force: bool = False
) -> dict[str, Status]:
    """What `run` would find, writing nothing.

    Whether a stage after a changed one is stale only running can tell: it is called stale here, and why.
    """
    _check_only(recipe, only)
    folder = folder.absolute()
    found: dict[str, Status] = {}
    for name, planned in recipe.stages.items():
        if only and name not in only:
            continue
        changing = [need for need in planned.needs if need in found and found[need].state != "cached"]
        if not changing:
            found[name] = look(planned, folder / name, seed=recipe.seed, force=force)
        elif (folder / name).exists():
            found[name] = Status("stale", [f"{', '.join(changing)} may come out different"], "")
        else:
            found[name] = Status("missing", [], "")
    return found


def _check_only(recipe: Recipe, only: Collection[str]) -> None:
    for name in only:
        if name not in recipe.stages:
            near = nearest(name, list(recipe.stages))
            hint = f"did you mean {near}?" if near else f"stages: {', '.join(recipe.stages)}"
            raise ConfigError(f"--only: {name}: no stage of {recipe.name}; {hint}")


def _leave_if(number: int | None) -> None:
    if number is not None:
        raise Interrupted(number)


def _opening(found: Status) -> str:
    if found.state != "stale":
        return "running"
    return f"stale because {reasons_text(found)}: running"


def reasons_text(found: Status) -> str:
    """The reasons on a line: at most four, and of those that are long only the key."""
    shown = [one if len(one) <= 100 else f"{one.partition(' ')[0]} changed" for one in found.reasons[:4]]
    return "; ".join(shown) + (f" and {len(found.reasons) - 4} more" if len(found.reasons) > 4 else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{clock_time(seconds)} min"


def _closing(folder: Path, report: Path, made: dict[str, Made]) -> str:
    """How to see what came out, as commands that can be pasted."""
    shown = shlex.quote(os.path.relpath(folder))
    lines = [f"done; the report is {os.path.relpath(report)} (open it in a browser)"]
    if any(one.artifact.kind == "model" for one in made.values()):
        lines.append(f"    to chat: exnihilo chat {shown} --web")
    if (folder / REPLACED).exists():
        lines.append(f"    what was replaced is kept in {REPLACED}; to remove it: exnihilo clean {shown}")
    return "\n".join(lines)
