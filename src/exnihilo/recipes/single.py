"""One stage by itself, as the commands `exnihilo pretrain`, `exnihilo sft` and so on run it."""

from __future__ import annotations

from pathlib import Path

from exnihilo.core.disk import disk_errors_told
from exnihilo.core.errors import ConfigError
from exnihilo.core.events import EventLog
from exnihilo.core.keys import Status
from exnihilo.recipes.estimate import estimate
from exnihilo.recipes.log import keep_traceback
from exnihilo.recipes.run import Made, look, make
from exnihilo.recipes.schema import Planned


def check(seed: int, resume: str) -> None:
    """Raises ConfigError for a seed or a way to resume that cannot be."""
    if seed < 0:
        raise ConfigError(f"--seed: got {seed}; allowed: int ≥ 0")
    if resume not in ("auto", "never", "must") and not Path(resume).exists():
        raise ConfigError(f"--resume: {resume}: allowed: auto | never | must | the path of a checkpoint")


def run_stage(planned: Planned, out: Path, *, seed: int, resume: str = "auto", force: bool = False) -> Made:
    """Make the artifact `out`; events and log go to the folder it lies in. Raises what the stage raises."""
    out = out.absolute()
    with keep_traceback(out.parent), disk_errors_told(out):
        return make(planned, out, seed=seed, resume=resume, force=force, log=EventLog(out.parent))


def plan(planned: Planned, out: Path, *, seed: int, force: bool = False) -> tuple[Status, list[str]]:
    """(what `run_stage` would find, what it would take), writing nothing."""
    out = out.absolute()
    found = look(planned, out, seed=seed, force=force)
    return found, [] if found.state == "cached" else estimate(planned, out.parent)
