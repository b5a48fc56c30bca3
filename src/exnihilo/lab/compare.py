"""The comparison: runs every arm with every seed, reusing what they share, and reports paired differences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from exnihilo.core import provenance
from exnihilo.core.artifact import MANIFEST
from exnihilo.core.errors import Refused
from exnihilo.core.files import write_atomic, write_json
from exnihilo.core.machine import describe
from exnihilo.lab.measure import Record, measure
from exnihilo.lab.question import Question
from exnihilo.lab.runs import Runs
from exnihilo.recipes.load import default_folder
from exnihilo.recipes.working import working_in
from exnihilo.report.run import read_json

RESULT = "compare.json"


def default_place(recipe: str, vary: Collection[str]) -> Path:
    """Where a comparison lies unless told: `runs/lab/<recipe>-<keys>`."""
    return Path("runs") / "lab" / "-".join([default_folder(recipe).absolute().name, *vary])


def compare(question: Question, folder: Path, *, command: Sequence[str] = ()) -> Record:
    """Make what is missing of all arms and seeds in `folder`, then `compare.json` and `report.html`.

    Killed, it continues when called again; with more seeds or values it makes only what is new. Returns what
    compare.json holds. Raises Refused (another process works there, or the folder holds something else), and
    what a stage raises.
    """
    from exnihilo.lab.page import render

    folder = folder.absolute()
    with working_in(folder) as stopped:
        _claim(question, folder)
        finished = Runs(question, folder, command, stopped).make_all()
        comparison = measure(finished, folder) | {
            "command": list(command),
            "code": provenance.code(),
            "libraries": provenance.libraries(),
            "machine": describe(),
        }
        write_json(folder / RESULT, comparison)
        write_atomic(folder / "report.html", render(finished, comparison))
    return comparison


def _claim(question: Question, folder: Path) -> None:
    """Raises Refused if the folder holds something else than this comparison."""
    for name in ("recipe.yaml", "run.json", MANIFEST):
        if (folder / name).exists():
            raise Refused(f"{folder}: holds a {name} and is no comparison; give another folder with --run")
    file = folder / "question.json"
    if not file.exists():
        write_json(file, question.definition())
        return
    there = read_json(file)
    if there != question.definition():
        keys = ", ".join(map(str, there.get("keys", [])))
        raise Refused(
            f"{folder}: holds a comparison of {keys} in {there.get('recipe')}; give another folder with --run"
        )
