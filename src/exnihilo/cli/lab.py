"""`exnihilo lab`: does a setting help here (`compare`), and how a learned reward is over-optimised."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from exnihilo.cli.options import RUNS, DryRun, Json, Keys, read_keys, shown
from exnihilo.core.errors import ConfigError

if TYPE_CHECKING:
    from exnihilo.lab.question import Question

USAGE = "Usage: exnihilo lab compare RECIPE --vary STAGE.KEY=A,B [OPTIONS] [--STAGE.KEY VALUE ...]"
OPTIONS = ("vary", "seeds", "metric", "equal")


def register(app: App) -> None:
    """Add the command to the tree."""
    lab = App(
        name="lab", help="Experiments: does a setting help here? And studies of known effects.", group=RUNS
    )
    lab.command(compare, usage=USAGE)
    lab.command(overoptimisation)
    app.command(lab)


def compare(
    recipe: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *keys: Keys,
    vary: Annotated[
        list[str] | None,
        Parameter(negative="", help="STAGE.KEY=A,B[,C]: what differs between the arms; repeated, a grid"),
    ] = None,
    seeds: Annotated[int, Parameter(help="runs of each arm, paired by seed")] = 3,
    metric: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="compare this only: accuracy, or base.accuracy for one model; may be repeated; "
            "default all scores and the validation losses",
        ),
    ] = None,
    equal: Annotated[
        Literal["flops", "steps", "time"],
        Parameter(help="what all arms spend alike in training; steps: each as its recipe says"),
    ] = "flops",
    run: Annotated[Path | None, Parameter(help="folder; default runs/lab/<recipe>-<key>")] = None,
    seed: Annotated[int | None, Parameter(help="the first seed; default the recipe's")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Compare values of a key: equal compute, same seeds, paired differences with 95 % intervals.

    What the arms share is made once. Killed, it continues when run again; with more seeds or values it makes
    only what is new. Any other key can be set for all arms: --base.steps 500.

    Parameters
    ----------
    recipe
        a shipped recipe (quickstart, own-text, adapt, smoke), a YAML file, or the folder of a run
    """
    if recipe.startswith("-"):
        raise ConfigError(f"{recipe}: the recipe comes first: exnihilo lab compare RECIPE {recipe} …")
    from exnihilo.lab import compare as lab
    from exnihilo.lab.arms import read_vary
    from exnihilo.lab.question import ask

    flags = read_keys(keys, also=OPTIONS)
    varied = read_vary(vary or [])
    question = ask(
        recipe,
        varied,
        seeds=seeds,
        metrics=metric or [],
        equal=equal,
        flags=flags,
        seed=seed,
    )
    folder = run or lab.default_place(recipe, list(varied))
    if seeds == 1:
        print("warning: --seeds 1: no interval is possible; give 3 or more", file=sys.stderr)
    if dry_run:
        _print_plan(question, folder, json)
        return
    from exnihilo.lab.table import table

    comparison = lab.compare(question, folder, command=["exnihilo", *sys.argv[1:]])
    if json:
        print(json_module.dumps(comparison, indent=2, ensure_ascii=False))
    else:
        print("\n".join([*table(comparison), "", shown(folder / "report.html")]))


def overoptimisation(
    *,
    seeds: Annotated[int, Parameter(help="worlds, each with a gold reward and models of its own")] = 3,
    run: Annotated[Path, Parameter(help="folder")] = Path("runs/lab/overoptimisation"),
    seed: Annotated[int, Parameter(help="the first seed")] = 1,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Gold and proxy reward against √KL, for best-of-n and PPO, and where the early stop lands.

    Killed, it continues when run again; with more seeds it makes only what is new.
    """
    for name, value, least in (("seeds", seeds, 1), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"--{name}: got {value}; allowed: int ≥ {least}")
    from exnihilo.lab.overoptimisation import missing
    from exnihilo.lab.overoptimisation import overoptimisation as study
    from exnihilo.lab.overoptimisation_page import table

    chosen = range(seed, seed + seeds)
    if dry_run:
        plan = missing(run, chosen)
        lines = [f"    {name}: {', '.join(lacks) or 'all there'}" for name, lacks in plan.items()]
        print(
            json_module.dumps({"run": shown(run), "missing": plan}, indent=2)
            if json
            else "\n".join([shown(run), *lines])
        )
        return
    result = study(run, chosen)
    if json:
        print(json_module.dumps(result, indent=2, ensure_ascii=False))
    else:
        print("\n".join([*table(result), "", shown(run / "report.html")]))


def _print_plan(question: Question, folder: Path, as_json: bool) -> None:
    from exnihilo.lab.arms import short_keys
    from exnihilo.lab.compute import to_be_probed
    from exnihilo.lab.layout import lay_out

    layout = lay_out(question.arms, question.seeds, folder.absolute(), short_keys(list(question.vary)))
    runs = {part.name: list(part.recipe.stages) for part in layout.parts}
    probed = to_be_probed(question.arms, question.equal)
    if as_json:
        plan = {
            "run": shown(folder),
            "arms": [arm.name for arm in question.arms],
            "seeds": question.seeds,
            "runs": runs,
            "probed": probed,
        }
        print(json_module.dumps(plan, indent=2, ensure_ascii=False))
        return
    print(f"{shown(folder)}: {len(runs)} runs")
    for name, stages in runs.items():
        print(f"    {name}: {', '.join(stages)}")
    if probed:
        print(
            f"steps of {', '.join(probed)} will be set for equal {question.equal}, after a probe of each arm"
        )
