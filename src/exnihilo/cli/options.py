"""Options that several commands share, and the passage of a stage's own keys to its schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from exnihilo.core.errors import ConfigError

Keys = Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]
"""The words that no option of the command took: `--section.key value`, read by the stage's schema."""
Seed = Annotated[
    int | None, Parameter(help="seed of all that is drawn at random; default 1, or the recipe's")
]
DryRun = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="check everything, say what would be done, write nothing"
    ),
]
PrintConfig = Annotated[
    bool, Parameter(negative="", show_default=False, help="print the config with every key, and run nothing")
]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="print the result as JSON")]
Force = Annotated[
    bool, Parameter(negative="", show_default=False, help="make it again even if it is there and current")
]

RUNS = Group.create_ordered("Whole runs")
STAGES = Group.create_ordered("One stage by itself")
LOOK = Group.create_ordered("Looking")
"""The groups of commands in `exnihilo --help`, in this order."""

OWN = (
    "run",
    "out",
    "config",
    "seed",
    "only",
    "resume",
    "dry_run",
    "print_config",
    "json",
    "force",
    "debug",
    "help",
)


def read_keys(
    words: Collection[str], known: Collection[str] | None = None, *, also: Collection[str] = ()
) -> dict[str, Any]:
    """The words as nested keys. Raises ConfigError for one that is nearer to an option than to a key.

    `known` are the keys that the stage's schema has at its top; without it every key has a dot (stage.key).
    `also` are options that only this command has.
    """
    from exnihilo.core.config import nearest, parse_flags

    flags = parse_flags(list(words))
    for flag, value in flags.items():
        option = nearest(flag, [*OWN, *also])
        mistaken = not isinstance(value, Mapping) if known is None else not _is_key(flag, known)
        if option and mistaken:
            raise ConfigError(f"--{flag}: unknown option; did you mean --{option.replace('_', '-')}?")
    return flags


def _is_key(flag: str, known: Collection[str]) -> bool:
    from exnihilo.core.config import nearest

    return flag.replace("-", "_") in known or nearest(flag, list(known)) is not None


def shown(path: Path) -> str:
    """A path as the user would write it from here."""
    here = Path.cwd()
    path = path.absolute()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
