"""`exnihilo run` and `exnihilo clean`: whole recipes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from exnihilo.cli.options import RUNS, DryRun, Force, Json, Keys, PrintConfig, Seed, read_keys, shown
from exnihilo.core.errors import ConfigError

if TYPE_CHECKING:
    from exnihilo.recipes.schema import Recipe

USAGE = "Usage: exnihilo run RECIPE [OPTIONS] [--STAGE.KEY VALUE ...]"


def register(app: App) -> None:
    """Add the commands to the tree."""
    app.command(run, usage=USAGE, group=RUNS)
    app.command(clean, group=RUNS)


def run(
    recipe: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *keys: Keys,
    run: Annotated[Path | None, Parameter(help="folder of the run; default runs/<recipe>")] = None,
    seed: Seed = None,
    only: Annotated[
        list[str] | None, Parameter(negative="", help="look at this stage only; may be repeated")
    ] = None,
    resume: Annotated[
        Literal["auto", "never", "must"], Parameter(help="what becomes of a stage that was under way")
    ] = "auto",
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
    json: Json = False,
    force: Force = False,
) -> None:
    """Run a recipe: make what is missing or stale, then the report. Killed, it continues when run again.

    Any key of any stage can be set: --base.steps 500 sets `steps` of the stage `base`. `exnihilo VERB --help`
    lists the keys of a verb; --print-config shows all keys of the recipe as they stand.

    Parameters
    ----------
    recipe
        a shipped recipe (quickstart, own-text, adapt, smoke), a YAML file, or the folder of a run
    """
    if recipe.startswith("-"):
        raise ConfigError(f"{recipe}: the recipe comes first: exnihilo run RECIPE {recipe} …")
    from exnihilo.recipes import load as reading
    from exnihilo.recipes import run as running

    read = reading.load(recipe, flags=read_keys(keys), seed=seed)
    folder = run or reading.default_folder(recipe)
    if print_config:
        _print_recipe(read, json)
    elif dry_run:
        _print_plan(read, folder, only or [], force, json)
    else:
        made = running.run(
            read, folder, command=["exnihilo", *sys.argv[1:]], only=only or [], resume=resume, force=force
        )
        stages = {name: one.record() for name, one in made.items()}
        report = shown(folder / "report.html")
        _print({"run": shown(folder), "report": report, "stages": stages} if json else report)


def clean(run: Path, /) -> None:
    """Remove the replaced artifacts that a run keeps.

    Parameters
    ----------
    run
        folder of the run
    """
    from exnihilo.recipes.clean import clean as remove

    names, size = remove(run)
    for name in names:
        print(f"removed {name}")
    print(f"{size / 2**20:.1f} MiB freed" if names else "nothing to remove")


def _print_recipe(recipe: Recipe, as_json: bool) -> None:
    from exnihilo.recipes.record import to_yaml

    written = recipe.written(Path.cwd())
    _print(written if as_json else to_yaml(written).rstrip())


def _print_plan(recipe: Recipe, folder: Path, only: list[str], force: bool, as_json: bool) -> None:
    from exnihilo.recipes.estimate import estimate
    from exnihilo.recipes.run import plan, reasons_text

    found = plan(recipe, folder, only=only, force=force)
    lines = {
        name: estimate(recipe.stages[name], folder.absolute())
        for name, status in found.items()
        if status.state != "cached"
    }
    if as_json:
        stages = {
            name: {"state": status.state, "reasons": status.reasons, "estimate": lines.get(name, [])}
            for name, status in found.items()
        }
        _print({"run": shown(folder), "stages": stages})
        return
    for name in recipe.left_out:
        print(f"{name}: left out, as an input of it is not given")
    for name, status in found.items():
        because = f" because {reasons_text(status)}" if status.reasons else ""
        print(f"{name}: {status.state}{because}")
        for line in lines.get(name, []):
            print(f"    {line}")


def _print(value: Any) -> None:
    print(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))
