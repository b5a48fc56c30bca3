"""The arms of a comparison: a recipe with each of the values of the keys that vary."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exnihilo.core.config import merge, nearest, parse_flags
from exnihilo.core.errors import ConfigError
from exnihilo.lab.layout import signatures
from exnihilo.recipes.load import load
from exnihilo.recipes.schema import Recipe

EXAMPLE = "--vary base.optimizer.name=muon,adamw"
MOST_ARMS = 64


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: the recipe with its values of the varied keys (`settings`, as given)."""

    name: str
    settings: dict[str, str]
    recipe: Recipe

    def with_recipe(self, recipe: Recipe) -> Arm:
        """The same arm with some settings of its stages changed."""
        return replace(self, recipe=recipe)


def read_vary(words: Sequence[str]) -> dict[str, list[str]]:
    """["base.clip=1,null"] is {"base.clip": ["1", "null"]}. Raises ConfigError for what is not KEY=A,B."""
    vary: dict[str, list[str]] = {}
    for word in words:
        key, equals, text = word.removeprefix("--").partition("=")
        if not equals or not key:
            raise ConfigError(f"--vary {word}: written KEY=A,B, such as {EXAMPLE}")
        if key == "seed":
            raise ConfigError("--vary seed: seeds are given with --seeds; every arm gets the same ones")
        if "." not in key:
            raise ConfigError(f"--vary {key}: a key is named with its stage, such as {EXAMPLE}")
        values = _split(text)
        if key in vary:
            raise ConfigError(f"--vary {key}: given twice; name all values at once")
        if "" in values:
            raise ConfigError(f"--vary {key}: an empty value in {text!r}; write null for none")
        if len(values) < 2:
            raise ConfigError(f"--vary {key}: only {values[0]}; give two values or more, {key}=A,B")
        vary[key] = values
    if not vary:
        raise ConfigError(f"--vary is missing; say what differs between the arms, such as {EXAMPLE}")
    return vary


def _split(text: str) -> list[str]:
    """The values between commas; those inside brackets, braces and quotes part nothing."""
    values, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        if not quoted:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quoted:
            values.append("")
        else:
            values[-1] += letter
    return [value.strip() for value in values]


def read_arms(
    recipe: str,
    vary: Mapping[str, Sequence[str]],
    *,
    flags: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> list[Arm]:
    """An arm for each combination of the varied values, the first values' first.

    `flags` and `seed` are as `recipes.load.load` takes them, and hold for all arms. Raises ConfigError with a
    line for each problem, and for arms that could not differ.
    """
    given = dict(flags or {})
    plain = load(recipe, flags=given, seed=seed)
    _check_keys(vary, plain, given)
    short = short_keys(list(vary))
    arms = []
    problems: dict[str, None] = {}
    combinations = list(itertools.product(*vary.values()))
    if len(combinations) > MOST_ARMS:
        raise ConfigError(
            f"--vary: {len(combinations)} combinations, more than {MOST_ARMS}; vary less at once"
        )
    for combination in combinations:
        settings = dict(zip(vary, combination, strict=True))
        extra = parse_flags([f"--{key}={value}" for key, value in settings.items()])
        try:
            loaded = load(recipe, flags=merge(given, extra), seed=seed)
        except ConfigError as error:
            problems |= dict.fromkeys(_as_varied(problem, vary) for problem in error.problems)
            continue
        arms.append(Arm(_name(settings, short), settings, loaded))
    if problems:
        raise ConfigError(*problems)
    _check_differences(arms)
    return arms


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, or as many parts as it takes to tell them apart."""
    short = {}
    for key in keys:
        parts = key.split(".")
        others = [other.split(".") for other in keys if other != key]
        size = 1
        while any(other[-size:] == parts[-size:] for other in others) and size < len(parts):
            size += 1
        short[key] = ".".join(parts[-size:])
    return short


def _name(settings: Mapping[str, str], short: Mapping[str, str]) -> str:
    if len(settings) == 1:
        return next(iter(settings.values()))
    return ", ".join(f"{short[key]}={value}" for key, value in settings.items())


def _check_keys(vary: Mapping[str, Sequence[str]], recipe: Recipe, flags: Mapping[str, Any]) -> None:
    problems = []
    for key in vary:
        stage = key.partition(".")[0]
        if stage in recipe.left_out:
            problems.append(f"--vary {key}: {stage} is left out, as an input of it is not given; give it")
        elif stage not in recipe.stages:
            near = nearest(stage, list(recipe.stages))
            hint = f"did you mean {near}?" if near else f"stages: {', '.join(recipe.stages)}"
            problems.append(f"--vary {key}: no stage {stage} in {recipe.name}; {hint}")
        elif _given(flags, key.split(".")):
            problems.append(f"--vary {key}: also given as --{key}; drop that")
    if problems:
        raise ConfigError(*problems)


def _given(flags: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        if not isinstance(flags, Mapping):
            return True  # a section that contains the key was given whole
        if part not in flags:
            return False
        flags = flags[part]
    return True


def _as_varied(problem: str, vary: Mapping[str, Sequence[str]]) -> str:
    """A problem of a flag, told as one of --vary: that is what the user wrote."""
    for key in vary:
        stage = key.partition(".")[0]
        problem = problem.replace(f"--{stage}.", f"--vary {stage}.")
    return problem


def _check_differences(arms: Sequence[Arm]) -> None:
    """Raises ConfigError for two arms whose artifacts would all be the same."""
    found: dict[tuple[tuple[str, str], ...], Arm] = {}
    for arm in arms:
        made = tuple(signatures(arm.recipe, arm.recipe.seed).items())
        other = found.setdefault(made, arm)
        if other is not arm:
            keys = " and ".join(f"--vary {key}" for key in arm.settings)
            raise ConfigError(
                f"{keys}: {other.name} and {arm.name} are the same to every stage (the same value, or a key "
                "that only changes records); give values that differ"
            )
