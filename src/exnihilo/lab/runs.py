"""The runs of a comparison: each artifact once, then probes where equal compute needs them, then all the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exnihilo.core.errors import Diverged, Interrupted
from exnihilo.core.events import EventLog
from exnihilo.lab import compute
from exnihilo.lab.arms import Arm, short_keys
from exnihilo.lab.layout import Layout, Part, affecting, lay_out, signatures
from exnihilo.lab.question import Question
from exnihilo.recipes.run import make, run

PROBES = "probes"


@dataclass(frozen=True)
class Finished:
    """All artifacts of a question, made."""

    question: Question
    layout: Layout
    adjusted: dict[str, dict[str, int]]
    """{arm: {stage: steps}} that equal compute set."""

    def place(self, arm: Arm, seed: int, stage: str) -> Path:
        """Where an artifact lies."""
        return self.layout.places[arm.name, seed, stage]


class Runs:
    """The runs of a comparison, in an order in which everything is made once."""

    def __init__(
        self,
        question: Question,
        folder: Path,
        command: Sequence[str] = (),
        stopped: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.question, self.folder, self.command, self.stopped = question, folder, command, stopped
        self.short = short_keys(list(question.vary))
        self.log = EventLog(folder)
        self.done: set[str] = set()

    def make_all(self) -> Finished:
        """Data first, then what equal compute needs to know, then all arms, seed by seed."""
        arms, adjusted = self.question.arms, dict[str, dict[str, int]]()
        probed = compute.to_be_probed(arms, self.question.equal)
        if probed:
            arms, adjusted = self._equalise(probed)
        layout = lay_out(arms, self.question.seeds, self.folder, self.short)
        self._run(layout.parts)
        return Finished(self.question, layout, adjusted)

    def _equalise(self, probed: Sequence[str]) -> tuple[list[Arm], dict[str, dict[str, int]]]:
        """The arms with steps that spend as much as the first arm's do, and which steps those are."""
        arms, seed = self.question.arms, self.question.seeds[0]
        layout = lay_out(arms, [seed], self.folder, self.short)
        own = {path.parent for (arm, _, _), path in layout.places.items() if arm == arms[0].name}
        self._run([part for part in layout.parts if not part.seeded or self.folder / part.name in own])
        keys = affecting(arms)
        trained = [name for name, one in arms[0].recipe.stages.items() if compute.trains(one) and keys[name]]
        first = {name: compute.measured(layout.places[arms[0].name, seed, name]) for name in trained}
        probes = self._probe(arms, first, probed, keys, layout)
        costs = [compute.costs_signatures(arm.recipe) for arm in arms]
        equal, adjusted = [arms[0]], dict[str, dict[str, int]]()
        for arm, own_costs in zip(arms[1:], costs[1:], strict=True):
            found = {
                name: (
                    compute.step_cost(probes.places[arms[0].name, seed, name], self.question.equal),
                    compute.step_cost(probes.places[arm.name, seed, name], self.question.equal),
                )
                for name in probed
                if probes.places[arm.name, seed, name] != probes.places[arms[0].name, seed, name]
                and (self.question.equal == "time" or own_costs[name] != costs[0][name])
            }
            steps = compute.equal_steps(first, found, self.question.equal)
            equal.append(compute.with_steps(arm, steps, first))
            changed = {name: count for name, count in steps.items() if count != first[name].steps}
            if changed:
                adjusted[arm.name] = changed
        return equal, adjusted

    def _probe(
        self,
        arms: Sequence[Arm],
        first: Mapping[str, compute.Measured],
        probed: Sequence[str],
        keys: Mapping[str, Sequence[str]],
        made: Layout,
    ) -> Layout:
        """Run a few steps of every arm, after what is made already."""
        seed = self.question.seeds[0]
        there = {
            signed: path
            for arm in arms
            for name, signed in signatures(arm.recipe, seed).items()
            if (path := made.places[arm.name, seed, name]).parent.name in self.done
        }
        short = [compute.shortened(arm, first, probed, keys) for arm in arms]
        layout = lay_out(short, [seed], self.folder / PROBES, self.short, made=there)
        for part in layout.parts:
            self.log.write("lab", "probe", message=f"a few steps to see what they cost: {part.name}")
            for name, planned in part.recipe.stages.items():
                out = self.folder / PROBES / part.name / name
                make(
                    planned, out, seed=part.recipe.seed, resume="auto", force=False, log=EventLog(out.parent)
                )
        return layout

    def _run(self, parts: Sequence[Part]) -> None:
        """Make each part that this call has not made yet."""
        for number, part in enumerate(parts, start=1):
            if part.name in self.done:
                continue
            stop = self.stopped()
            if stop is not None:
                raise Interrupted(stop)
            self.log.write("lab", "run", message=f"run {number} of {len(parts)}: {part.name}")
            try:
                run(part.recipe, self.folder / part.name, command=self.command)
            except Diverged:
                told = f"{part.name} diverged; leave its value out of --vary to compare the others, all kept"
                self.log.write("lab", "diverged", message=told)
                raise
            self.done.add(part.name)
