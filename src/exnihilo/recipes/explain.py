"""What a setting does, its range, its default and why: found by its key, or by a part of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from exnihilo.core.config import Row, key_table, nearest
from exnihilo.core.errors import ConfigError
from exnihilo.recipes.schema import RecipeFile
from exnihilo.recipes.stages import VERBS, find

RECIPE = "recipe"
"""Stands before the keys at the top of a recipe, as a verb does before those of its stage."""


@dataclass(frozen=True)
class Setting:
    """A key of a stage's schema. `verb` is `RECIPE` for a key at the top of a recipe."""

    verb: str
    row: Row

    @property
    def name(self) -> str:
        """The verb and the key: `pretrain.optimizer.lr`."""
        return f"{self.verb}.{self.row.key}"

    @property
    def effect(self) -> str:
        """What becomes of a finished or half-finished artifact when the value changes."""
        if "cosmetic" in self.row.marks:
            return "changes records only: an artifact stays current when this changes"
        if "horizon" in self.row.marks:
            return "how long, or how: a stage under way goes on from its checkpoint when this changes"
        return "decides the result: when it changes, the stage and what follows it are made again"

    @property
    def example(self) -> str:
        """A value to try."""
        return self.row.example or _other_value(self.row)


def settings(verb: str) -> list[Setting]:
    """Every setting of a verb's stage, or of a recipe."""
    schema = RecipeFile if verb == RECIPE else find(verb).config
    return [Setting(verb, row) for row in key_table(schema)]


def look_up(words: Collection[str]) -> list[Setting]:
    """The settings that these words name: one where they name one key of one verb, else all that fit.

    A key may be given whole (`pretrain.optimizer.lr`), from any part of it on (`optimizer.lr`, `lr`), as a
    section (`pretrain.optimizer`) or as a verb, with or without the dashes of a flag; several words are parts
    of one key. Raises ConfigError with the nearest name where nothing fits.
    """
    wanted = [part for word in words for part in word.strip("-").partition("=")[0].split(".") if part]
    if not wanted:
        raise ConfigError(
            f"explain: which key? give one, such as pretrain.optimizer.lr, or a verb: {_verbs()}"
        )
    verb = wanted[0] if wanted[0] in VERBS else wanted[0].replace("_", "-")
    if verb in VERBS or verb == RECIPE:
        found = _within(settings(verb), wanted[1:])
        # `tokenizer` and `tokens` are verbs or keys: what no verb's key fits may still be a key of others.
        return found or _everywhere(wanted)
    return _everywhere(wanted)


def _within(known: list[Setting], wanted: list[str]) -> list[Setting]:
    parts = [_plain(part) for part in wanted]
    whole = [one for one in known if _path(one)[: len(parts)] == parts]
    return whole or _fitting(known, parts)


def _everywhere(wanted: list[str]) -> list[Setting]:
    known = [one for verb in (*VERBS, RECIPE) for one in settings(verb)]
    found = _fitting(known, [_plain(part) for part in wanted])
    if found:
        return found
    names = {".".join(_path(one)): one.row.key for one in known}
    names |= {_path(one)[-1]: _path(one)[-1] for one in known} | {one.name: one.name for one in known}
    near = nearest(".".join(wanted), list(names)) or nearest(wanted[-1], list(names))
    hint = f"did you mean {names[near]}?" if near else f"give a key, or a verb: {_verbs()}"
    raise ConfigError(f"{'.'.join(wanted)}: no such key; {hint}")


def _fitting(known: list[Setting], parts: list[str]) -> list[Setting]:
    """Settings that end with these parts, and those below a section of that name."""
    size = len(parts)
    ends = [one for one in known if _path(one)[len(_path(one)) - size :] == parts]
    holding = [
        one for one in known if any(_path(one)[at : at + size] == parts for at in range(len(_path(one))))
    ]
    sections = any(_path(one)[len(_path(one)) - size :] != parts for one in holding)
    return holding if sections else ends


def _path(setting: Setting) -> list[str]:
    return setting.row.key.split(".")


def _plain(part: str) -> str:
    return part.replace("-", "_")


def _verbs() -> str:
    return ", ".join(VERBS)


def _other_value(row: Row) -> str:
    """A value that differs from the default, where one can be told from the type."""
    options = row.type.split(" | ")
    if row.default in options and row.default != "null":
        return next((option for option in options if option != row.default), row.default)
    try:
        number = float(row.default)
    except ValueError:
        return "" if row.default in ("required", "null", '""', "[]") else row.default
    whole = row.type.startswith(("int", "count"))
    return f"{number / 2:g}" if number and not whole else f"{2 * number or 1:g}" if whole else "0.1"
