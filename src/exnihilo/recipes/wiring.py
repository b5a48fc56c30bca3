"""References between the stages of a recipe: what they name, of which kind, in which order it is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from exnihilo.core.artifact import MANIFEST, read_manifest
from exnihilo.core.config import Config, nearest, references
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.stage import Stage


@dataclass(frozen=True)
class Source:
    """What a reference names: a stage of the recipe or, where `stage` is None, the path of an artifact.

    `name` is what the reading stage calls it, in a list of models for example.
    """

    name: str
    stage: str | None
    path: Path | None = None

    def folder(self, run: Path) -> Path:
        """Where it lies when the recipe runs in `run`."""
        if self.path is not None:
            return self.path
        assert self.stage is not None
        return run / self.stage


def sources_of(
    config: Config,
    stages: Mapping[str, Stage],
    label: Callable[[str], str],
    *,
    left_out: Collection[str] = (),
    broken: Collection[str] = (),
) -> tuple[dict[str, list[Source]], list[str]]:
    """({field: what it names}, problems) of a stage's references, in which paths are absolute by now.

    `label(field)` is the key as the user wrote it ("r.yaml: base.tokens", "--tokens"). `left_out` are optional
    stages without their inputs; `broken` ones of which problems are told already.
    """
    dumped = config.model_dump(mode="json", by_alias=True)
    found: dict[str, list[Source]] = {}
    problems: list[str] = []
    for field, kind in references(type(config)).items():
        given = dumped[field] if isinstance(dumped[field], list) else [dumped[field]]
        key = label(field)
        sources: list[Source] = []
        for reference in given:
            if reference is None or reference in broken:
                continue
            problem = _problem(key, reference, kind, stages, left_out)
            if problem:
                problems.append(problem)
            elif reference in stages:
                sources.append(Source(reference, reference))
            else:
                sources.append(Source(Path(reference).name, None, Path(reference)))
        doubled = [source.name for source in sources if sources.count(source) > 1]
        if doubled:
            problems.append(f"{key}: {doubled[0]} is named twice; name it once")
        if sources:
            found[field] = _distinct(sources)
    return found, problems


def _problem(
    key: str, reference: str, kind: str, stages: Mapping[str, Stage], left_out: Collection[str]
) -> str | None:
    """What is wrong with one reference, or None."""
    if reference in left_out:
        return (
            f"{key}: {reference} is left out, as an input of it is not given; give it, or leave this out too"
        )
    if reference in stages:
        made, verb = stages[reference].kind, stages[reference].verb
        hint = f"stages of kind {kind}: {', '.join(_of_kind(kind, stages)) or 'none'}"
        wrong = f"{key}: wants kind {kind}, and {reference} is of kind {made} (do: {verb}); {hint}"
        return None if made == kind else wrong
    path = Path(reference)
    if path.is_absolute():
        return _path_problem(key, path, kind)
    if not stages:
        return f"{key}: {reference}: no such path; {_advice(kind)}"
    near = nearest(reference, _of_kind(kind, stages)) or nearest(reference, list(stages))
    hint = f"did you mean {near}?" if near else f"stages: {', '.join(stages)}"
    return f"{key}: {reference}: no stage of this recipe and no such path; {hint}"


def _path_problem(key: str, path: Path, kind: str) -> str | None:
    if not path.exists():
        return f"{key}: {path}: no such path; {_advice(kind)}"
    if path.name.endswith(".partial"):
        return f"{key}: {path} is not finished; run its stage again to continue it"
    if not (path / MANIFEST).is_file():
        if not (path / "recipe.yaml").is_file():
            return None  # a plain file or folder that the user brings: its stage says whether it can read it
        inside = [file.parent for file in sorted(path.glob(f"*/{MANIFEST}")) if _kind_of(file.parent) == kind]
        names = ", ".join(str(folder) for folder in inside) or "none yet"
        return f"{key}: {path} is a whole run; name one of its artifacts of kind {kind}: {names}"
    made = _kind_of(path)
    if made is None:
        return f"{key}: {path / MANIFEST} cannot be read; make the artifact again"
    if made == kind:
        return None
    return f"{key}: wants kind {kind}, and {path} is of kind {made}; give the path of one of kind {kind}"


def _advice(kind: str) -> str:
    also = " or a file of conversations" if kind == "examples" else ""
    return f"give the path of an artifact of kind {kind}{also}"


def _of_kind(kind: str, stages: Mapping[str, Stage]) -> list[str]:
    return [name for name, stage in stages.items() if stage.kind == kind]


def _kind_of(folder: Path) -> str | None:
    try:
        kind: str = read_manifest(folder)["kind"]
    except Refused:
        return None
    return kind


def _distinct(sources: list[Source]) -> list[Source]:
    """Sources under names that differ: `runs/a/base` and `runs/b/base` are a-base and b-base.

    As many folders stand before a name as it takes: inputs are found by it, and of two with one name a stage would
    only see the last.
    """
    longest = max((len(source.path.parts) for source in sources if source.path is not None), default=0)
    for size in range(2, longest):
        names = [source.name for source in sources]
        sources = [
            Source("-".join(source.path.parts[1:][-size:]), None, source.path)
            if source.path is not None and names.count(source.name) > 1
            else source
            for source in sources
        ]
    return sources


def ordered(needs: Mapping[str, list[str]], where: str) -> list[str]:
    """Stage names so that each comes after what it needs, otherwise in the order of the file.

    Raises ConfigError that shows a cycle.
    """
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise ConfigError(
            f"{where}: stages need each other in a cycle: {cycle}; let one of them read something else"
        ) from None
    order: list[str] = []
    while len(order) < len(needs):
        order.append(next(name for name in needs if name not in order and set(needs[name]) <= set(order)))
    return order
