"""Reading a recipe: its file, the flags and the environment, checked whole before any work starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from exnihilo.core.coerce import coerce
from exnihilo.core.config import Config, nearest, read_yaml, resolve, validate
from exnihilo.core.errors import ConfigError
from exnihilo.core.problems import show
from exnihilo.core.stage import Stage
from exnihilo.recipes import paths, stages
from exnihilo.recipes.optional import leave_out
from exnihilo.recipes.schema import Planned, Recipe, RecipeFile
from exnihilo.recipes.wiring import Source, ordered, sources_of

SHIPPED = Path(__file__).parent
NAME = re.compile(r"[^\W\d][\w-]*")
OWN_KEYS = ("do", "optional")
"""The keys of a stage that are the recipe's and not its verb's."""


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.yaml"))


def locate(recipe: str) -> tuple[Path, Path]:
    """(file, folder its paths are relative to) of a shipped name, a YAML file or the folder of a run.

    The paths in a shipped recipe are the user's, relative to the working directory. Raises ConfigError.
    """
    names = shipped()
    if recipe in names:
        return SHIPPED / f"{recipe}.yaml", Path.cwd()
    file = Path(recipe)
    if file.is_dir():
        file = file / "recipe.yaml"
    if file.is_file():
        return file, file.parent
    if "/" in recipe or file.suffix in (".yaml", ".yml"):
        raise ConfigError(f"{file}: no such file; give a recipe in YAML or one of: {', '.join(names)}")
    near = nearest(recipe, names)
    hint = f"did you mean {near}?" if near else f"give a YAML file or one of: {', '.join(names)}"
    raise ConfigError(f"{recipe}: neither a shipped recipe nor a file; {hint}")


def load(
    recipe: str | Path,
    *,
    flags: Mapping[str, Any] | None = None,
    seed: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Recipe:
    """Read a recipe with its overrides, and check it all.

    `flags` are {stage: {key: text}}, as `parse_flags` gives them; `seed` beats the recipe's; `environ` is
    `os.environ` unless given. Raises ConfigError with one line for each problem, in any stage.
    """
    file, base = locate(str(recipe))
    label = file.stem if file.parent == SHIPPED else str(file)
    values = read_yaml(file)
    stages_given = values.get("stages")
    misspelt = values.keys() - RecipeFile.model_fields.keys()
    if not misspelt and not (stages_given and isinstance(stages_given, Mapping)):
        told = f"got {show(stages_given)}" if "stages" in values else "required"
        raise ConfigError(f"{label}: stages: {told}; allowed: a mapping with NAME: {{do: VERB, …}}")
    whole = validate(RecipeFile, values, where=label)
    drafts = _Drafts(label, base, whole.stages, flags or {})
    if seed is not None and seed < 0:
        drafts.problems.append(f"--seed: got {seed}; allowed: int ≥ 0")
    planned = drafts.resolve(environ)
    name = default_folder(str(recipe)).absolute().name
    return Recipe(
        name, whole.seed if seed is None else seed, whole.description, planned, sorted(drafts.left_out)
    )


def default_folder(recipe: str) -> Path:
    """Where a recipe runs unless told: `runs/<name>`; the recipe.yaml of a run, in that run."""
    file, base = locate(recipe)
    if file.name == "recipe.yaml":
        return base if (base / "run.json").is_file() else Path("runs") / base.absolute().name
    return Path("runs") / file.stem


def load_stage(
    verb: str,
    *,
    files: Sequence[Path] = (),
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Planned:
    """One stage by itself: keys from YAML files and flags, references that are paths. Raises ConfigError."""
    stage = stages.find(verb)
    layers = [(str(file), _anchored(stage, read_yaml(file), file.parent)) for file in files]
    given = _anchored(stage, coerce(stage.config, flags or {}), Path.cwd())
    config = resolve(stage.config, files=layers, flags=given, environ=environ)

    def label(field: str) -> str:
        file = next((name for name, values in reversed(layers) if field in values), None)
        return f"--{field}" if field in given or file is None else f"{file}: {field}"

    sources, problems = sources_of(config, {}, label)
    if problems:
        raise ConfigError(*problems)
    return Planned(verb, stage, config, sources)


def _anchored(
    stage: Stage, values: Mapping[str, Any], base: Path, names: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return paths.rewrite(stage.config, values, paths.absolute(base), names=names or {}, base=base)


class _Drafts:
    """The stages of a recipe file on their way to being resolved, with the problems found so far."""

    def __init__(self, label: str, base: Path, entries: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
        self.label = label
        self.problems: list[str] = []
        self.names = list(entries)
        self.stages: dict[str, Stage] = {}
        self.values: dict[str, dict[str, Any]] = {}
        self.given: dict[str, dict[str, Any]] = {}
        self._check_flags(flags)
        for name, entry in entries.items():
            stage = self._stage(name, entry)
            if stage is None:
                continue
            over = flags.get(name)
            self.stages[name] = stage
            values = {key: value for key, value in entry.items() if key not in OWN_KEYS}
            self.values[name] = _anchored(stage, values, base, entries)
            coerced = coerce(stage.config, over if isinstance(over, Mapping) else {})
            self.given[name] = _anchored(stage, coerced, Path.cwd(), entries)
        optional = {name for name in self.stages if self._is_optional(name, entries[name])}
        self.left_out = leave_out(self.stages, optional, self.values, self.given)

    def resolve(self, environ: Mapping[str, str] | None) -> dict[str, Planned]:
        """The stages in the order they run. Raises ConfigError with all problems."""
        configs: dict[str, Config] = {}
        for name, stage in self.stages.items():
            if name not in self.left_out:
                layers = [(self.label, self.values[name])]
                try:
                    configs[name] = resolve(
                        stage.config, files=layers, flags=self.given[name], environ=environ, where=name
                    )
                except ConfigError as error:
                    self.problems += error.problems
        wired: dict[str, dict[str, list[Source]]] = {}
        for name, config in configs.items():
            wired[name], problems = sources_of(
                config,
                self.stages,
                partial(self._label, name),
                left_out=self.left_out,
                broken=[one for one in self.names if one not in self.stages],
            )
            self.problems += problems
        if self.problems:
            raise ConfigError(*self.problems)
        planned = {name: Planned(name, self.stages[name], configs[name], wired[name]) for name in configs}
        order = ordered({name: one.needs for name, one in planned.items()}, self.label)
        return {name: planned[name] for name in order}

    def _label(self, name: str, field: str) -> str:
        return f"--{name}.{field}" if field in self.given[name] else f"{self.label}: {name}.{field}"

    def _stage(self, name: str, entry: Any) -> Stage | None:
        if not NAME.fullmatch(name):
            allowed = "a letter, then letters, digits, - and _ (it names a folder and a flag)"
            self.problems.append(f"{self.label}: {name!r} cannot name a stage; allowed: {allowed}")
            return None
        if not isinstance(entry, Mapping):
            self.problems.append(f"{self.label}: {name}: got {show(entry)}; allowed: a mapping with do: VERB")
            return None
        verb = entry.get("do")
        if not isinstance(verb, str):
            self.problems.append(f"{self.label}: {name}.do: required; allowed: {', '.join(stages.VERBS)}")
            return None
        try:
            return stages.find(verb)
        except ConfigError as error:
            self.problems.append(f"{self.label}: {name}.do: {error}")
            return None

    def _is_optional(self, name: str, entry: Mapping[str, Any]) -> bool:
        value = entry.get("optional", False)
        if not isinstance(value, bool):
            self.problems.append(f"{self.label}: {name}.optional: got {show(value)}; allowed: true | false")
        return value is True

    def _check_flags(self, flags: Mapping[str, Any]) -> None:
        for flag, value in flags.items():
            near = nearest(flag, self.names)
            if flag not in self.names:
                hint = f"did you mean --{near}?" if near else f"stages: {', '.join(self.names)}"
                self.problems.append(f"--{flag}: no option, and no stage of {self.label}; {hint}")
            elif not isinstance(value, Mapping):
                self.problems.append(f"--{flag}: a stage; options are written --{flag}.key value")
