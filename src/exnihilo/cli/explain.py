"""`exnihilo explain`: what a setting does, its range, its default and why."""

from __future__ import annotations

import json as json_module
import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from exnihilo.cli.options import LOOK, Json
from exnihilo.cli.stages import COMMANDS

if TYPE_CHECKING:
    from exnihilo.recipes.explain import Setting

USAGE = "Usage: exnihilo explain KEY [OPTIONS]"
WIDTH = 100


def register(app: App) -> None:
    """Add the command to the tree."""
    app.command(explain, usage=USAGE, group=LOOK)


def explain(
    *key: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)], json: Json = False
) -> None:
    """Say what a setting does, its range, its default and why, and where it belongs.

    KEY is whole (pretrain.optimizer.lr), a part (optimizer.lr, lr), or the name of a stage: then all that fit
    are listed.
    """
    from exnihilo.recipes.explain import look_up

    found = look_up(key)
    if json:
        print(json_module.dumps([_record(one) for one in found], indent=2, ensure_ascii=False))
    elif len({one.row for one in found}) == 1:
        print("\n".join(_lines(found)))
    else:
        print("\n".join(_listed(found)))


def _record(setting: Setting) -> dict[str, Any]:
    row = setting.row
    return {
        "key": setting.name,
        "description": row.description,
        "type": row.type,
        "default": row.default,
        "why": row.why,
        "effect": setting.effect,
        "command": _command(setting),
        "example": _example(setting),
    }


def _lines(found: list[Setting]) -> list[str]:
    """The explanation of one setting, which several stages may share."""
    setting, row = found[0], found[0].row
    facts = {
        "type": row.type,
        "default": row.default,
        "why": row.why,
        "effect": setting.effect,
        "belongs to": ", ".join(map(_command, found)),
        "for example": _example(setting),
    }
    in_recipe = f"exnihilo run RECIPE --STAGE.{row.key} {setting.example}"
    if setting.example and setting.verb in COMMANDS:
        facts["in a recipe"] = f"{in_recipe} (STAGE: its name there)"
    return [
        setting.name if len(found) == 1 else row.key,
        *_wrapped(row.description, "  "),
        "",
        *(line for name, fact in facts.items() if fact for line in _wrapped(fact, f"  {name:<13}")),
    ]


def _listed(found: list[Setting]) -> list[str]:
    heads = [f"{one.name} = {one.row.default}" for one in found]
    width = min(44, max(map(len, heads))) + 2
    return [
        *(
            line
            for head, one in zip(heads, found, strict=True)
            for line in _wrapped(one.row.description, f"{head:<{width}}")
        ),
        "",
        f"{len(found)} settings; name one of them to see its range, its default and why",
    ]


def _command(setting: Setting) -> str:
    if setting.verb not in COMMANDS:
        return "the top of a recipe"
    return f"exnihilo {' '.join(COMMANDS[setting.verb][0])}"


def _example(setting: Setting) -> str:
    if not setting.example:
        return ""
    if setting.verb not in COMMANDS:
        return f"exnihilo run RECIPE --{setting.row.key} {setting.example}"
    return f"{_command(setting)} --{setting.row.key} {setting.example}"


def _wrapped(text: str, first: str) -> list[str]:
    """The text in lines of the terminal's width, those after the first indented as far as `first` is long."""
    width = max(60, min(WIDTH, shutil.get_terminal_size().columns))
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
