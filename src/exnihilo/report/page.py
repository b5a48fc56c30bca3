"""The page: a run's files turned into what the template shows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.lineage import format_tree, lineage
from exnihilo.report import words
from exnihilo.report.answers import Example, examples_by_family
from exnihilo.report.costs import cost_table
from exnihilo.report.curves import training_charts
from exnihilo.report.data import data_groups
from exnihilo.report.drawing import draw_lineage
from exnihilo.report.figures import bits_per_byte_chart, family_chart
from exnihilo.report.glance import glance, lead
from exnihilo.report.inside import advice, norm_charts, profile_table
from exnihilo.report.reward_cards import reward_cards
from exnihilo.report.run import Record, RunFiles, StageFiles, parents
from exnihilo.report.scores import Results, comparisons, family_table, model_table, read_results
from exnihilo.report.shell import Figures, fill
from exnihilo.report.votes import vote_charts


def render(run: RunFiles) -> str:
    """The whole page as HTML. Every text of the run is escaped: models write what they like."""
    figures = Figures()
    results = read_results(run)
    context = {
        "name": run.name,
        "lead": lead(run, results),
        "description": run.recipe.get("description"),
        "unfinished": run.unfinished,
        "glance": glance(run, results),
        "scores": [_score_section(one, figures) for one in results],
        "answers": _answers(results),
        "cards": reward_cards(run),
        "stages": [_stage_row(stage) for stage in run.stages],
        "facts": _machine_facts(run),
        "data": data_groups(run),
        "training": _training(run, figures),
        "samples": _samples(run),
        "cost": cost_table(run),
        "lineage": {"drawing": draw_lineage(run.stages), "text": _trees(run)},
        "commands": _commands(run),
        "recipe": _recipe_text(run),
    }
    return fill("exnihilo.report", "template.html.jinja", context, figures)


def _score_section(results: Results, figures: Figures) -> dict[str, Any]:
    charts = [
        family_chart(results.families, results.majority, list(results.models)),
        bits_per_byte_chart(results.models, results.yardsticks),
        *vote_charts(results.models, results.votes),
    ]
    table = model_table(results)
    return {
        "stage": results.stage.name,
        "heads": table.heads,
        "rows": table.rows,
        "note": _score_note(results),
        "charts": figures.place([chart for chart in charts if chart is not None]),
        "families": family_table(results),
        "majority": bool(results.majority),
        "comparisons": comparisons(results),
    }


def _score_note(results: Results) -> str:
    notes = []
    if results.families:
        notes.append(
            "Accuracy is the mean over families of questions, each counting the same; share of items counts "
            "each question the same. Answers are greedy, and a base model is asked with the same chat prompt."
        )
    if any("bits_per_byte" in scores for scores in results.models.values()):
        notes.append(
            "Bits per byte is what the model would need to compress the held-out text: lower is better."
        )
    return " ".join(notes)


def _answers(results: list[Results]) -> dict[str, list[Example]]:
    answers: dict[str, list[Example]] = {}
    for one in results:
        paths = {name: one.stage.path / "items" / f"{name}.jsonl" for name in one.models}
        items = {
            name: [record for _, record in read_jsonl(path)] for name, path in paths.items() if path.is_file()
        }
        answers |= examples_by_family(items)
    return answers


def _stage_row(stage: StageFiles) -> dict[str, Any]:
    inputs = [str(entry["name"]) for entry in stage.manifest.get("inputs", [])]
    return {
        "name": stage.name,
        "verb": stage.verb,
        "kind": stage.kind,
        "inputs": list(dict.fromkeys(inputs)),
        "time": words.duration(stage.manifest["seconds"]),
        "lines": stage.manifest.get("lines", []),
    }


def _machine_facts(run: RunFiles) -> list[tuple[str, str]]:
    manifest = run.stages[-1].manifest
    machine: Mapping[str, Any] = manifest["machine"]
    code = manifest["code"]
    version = str(code["version"])
    if code.get("commit"):
        version += f", commit {code['commit'][:10]}{' with changes' if code.get('dirty') else ''}"
    facts = [("exnihilo", version), ("Seed", str(manifest["seed"]))]
    named = {"cpu": "Processor", "cores": "Cores", "os": "System", "python": "Python"}
    facts += [(label, str(machine[key])) for key, label in named.items() if machine.get(key)]
    if machine.get("memory_gib"):
        facts.append(("Memory", f"{machine['memory_gib']} GiB"))
    if machine.get("gpu"):
        facts.append(("GPU", ", ".join(machine["gpu"])))
    facts += [(library, version) for library, version in manifest.get("libraries", {}).items()]
    return facts


def _training(run: RunFiles, figures: Figures) -> list[dict[str, Any]]:
    sections = []
    for stage in run.stages:
        learning, running = training_charts(stage.metrics)
        profile = profile_table(stage.path)
        if learning or running:
            sections.append(
                {
                    "name": stage.name,
                    "verb": stage.verb,
                    "learning": figures.place(learning),
                    "running": figures.place(running),
                    "advice": advice(stage.path),
                    "norms": figures.place(norm_charts(stage.path)),
                    "profile": profile,
                }
            )
    return sections


def _samples(run: RunFiles) -> list[dict[str, Any]]:
    """By stage, the samples of each step in the order of writing."""
    sections = []
    for stage in run.stages:
        moments: dict[int, list[Record]] = {}
        for record in stage.samples:
            reward = record.get("reward")
            said = {
                "prompt": str(record.get("prompt", "")),
                "text": str(record.get("text", "")),
                "reward": "" if reward is None else f"reward {reward:g}",
            }
            moments.setdefault(record["step"], []).append(said)
        if moments:
            ordered = [{"step": step, "samples": moments[step]} for step in sorted(moments)]
            sections.append({"name": stage.name, "moments": ordered})
    return sections


def _trees(run: RunFiles) -> str:
    """The lineage of every artifact that nothing else was made from."""
    used = {parent for stage in run.stages for parent in parents(stage)}
    last = [stage for stage in run.stages if stage.name not in used]
    return "\n\n".join(format_tree(lineage(stage.path)) for stage in last)


def _commands(run: RunFiles) -> list[str]:
    folder = run.path.resolve()
    place = f"{folder.parent.name}/{folder.name}"
    here = shlex.quote(place)
    if not run.recipe:
        return [f"exnihilo report {here}"]
    return [
        f"exnihilo run {shlex.quote(f'{place}/recipe.yaml')} --run {shlex.quote(f'{place}-again')}",
        f"exnihilo report {here}            # this page again",
        *([f"exnihilo chat {here} --web        # ask the models yourself"] if run.of_kind("model") else []),
    ]


def _recipe_text(run: RunFiles) -> str:
    path = run.path / "recipe.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
