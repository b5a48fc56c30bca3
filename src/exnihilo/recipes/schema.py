"""A recipe: stages by name, wired by references, every config resolved."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from exnihilo.core.config import Config, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.recipes import paths
from exnihilo.recipes.wiring import Source


class RecipeFile(Config):
    """The top level of a recipe. A stage has its keys, `do` (its verb), and perhaps `optional`."""

    seed: int = Field(
        1,
        ge=0,
        description="seed of every stage",
        json_schema_extra=why(
            "1, any other will do as well: all that is drawn at random follows from it, so that a run "
            "can be made again",
            example="2",
        ),
    )
    description: str = Field(
        "",
        description="what the recipe is for",
        json_schema_extra={"cosmetic": True}
        | why("empty: it is shown in the report, and decides nothing", example="'my texts'"),
    )
    stages: dict[str, Any] = Field(
        min_length=1,
        description="the stages by name",
        json_schema_extra=why("there is no default: a recipe is its stages"),
    )


@dataclass(frozen=True)
class Planned:
    """A stage as a recipe asks for it. `sources`: for each reference field that is given, what it names."""

    name: str
    stage: Stage
    config: Config
    sources: dict[str, list[Source]] = field(default_factory=dict)

    @property
    def needs(self) -> list[str]:
        """The stages whose artifacts this one reads."""
        sources = [source for given in self.sources.values() for source in given]
        return [source.stage for source in sources if source.stage is not None]

    def inputs(self, run: Path) -> Inputs:
        """Where the inputs lie, artifacts of other stages being folders of `run`."""
        found: Inputs = {}
        dumped = self.config.model_dump(mode="json", by_alias=True)
        for name, given in self.sources.items():
            folders = {source.name: source.folder(run) for source in given}
            found[name] = folders if isinstance(dumped[name], list) else next(iter(folders.values()))
        return found

    def written(self, folder: Path, names: Collection[str] = ()) -> dict[str, Any]:
        """The config with every key, its paths as a file in `folder` says them; `names` are stages."""
        dumped = self.config.model_dump(mode="json", by_alias=True)
        return paths.rewrite(type(self.config), dumped, paths.relative(folder), names=names, base=folder)


@dataclass(frozen=True)
class Recipe:
    """A recipe with every config resolved; `stages` in the order they run, each after those that it needs.

    `left_out` names the optional stages without their inputs.
    """

    name: str
    seed: int
    description: str
    stages: dict[str, Planned]
    left_out: list[str] = field(default_factory=list)

    def written(self, folder: Path) -> dict[str, Any]:
        """The recipe with every key spelled out, as a file in `folder` that does it again when run."""
        described = {"description": self.description} if self.description else {}
        stages = {
            name: {"do": planned.stage.verb, **planned.written(folder, self.stages)}
            for name, planned in self.stages.items()
        }
        return {**described, "seed": self.seed, "stages": stages}
