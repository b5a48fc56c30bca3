"""What came of a run, at a glance: a few sentences and the large numbers."""

from __future__ import annotations

from dataclasses import dataclass

from exnihilo.core.model_card import parameters_of
from exnihilo.report import words
from exnihilo.report.costs import cost_table
from exnihilo.report.run import RunFiles
from exnihilo.report.scores import Results


@dataclass(frozen=True)
class GlanceCard:
    """One of the large numbers at the top."""

    label: str
    value: str
    note: str


def lead(run: RunFiles, results: list[Results]) -> str:
    """What came of the run, in two or three sentences."""
    seconds = sum(stage.manifest["seconds"] for stage in run.stages)
    cores = run.stages[-1].manifest["machine"]["cores"]
    models = [stage.name for stage in run.of_kind("model")]
    stages = f"{len(run.stages)} stage{'s' if len(run.stages) != 1 else ''}"
    text = f"{stages} in {words.duration(seconds)} on {cores} core{'s' if cores != 1 else ''}"
    if models:
        text += f" made {_listed(models)}"
    text += "."
    for one in results:
        last = list(one.models)[-1]
        for entry in one.paired:
            if entry["what"] == "accuracy" and entry["a"] == last:
                text += f" On held-out questions, {words.difference(entry)}."
                break
    return text


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"the model {names[0]}"
    return f"{len(names)} models: {', '.join(names[:-1])} and {names[-1]}"


def glance(run: RunFiles, results: list[Results]) -> list[GlanceCard]:
    """The large numbers: scores of the last model, its size, and what the run took."""
    cards = []
    for one in results:
        name, scores = list(one.models.items())[-1]
        if "accuracy" in scores:
            entry = scores["accuracy"]
            note = f"{name}, mean over families; {words.span('accuracy', entry['low'], entry['high'])}"
            cards.append(GlanceCard("Right answers", words.value("accuracy", entry["value"]), note))
        first_name, first = next(iter(one.models.items()))
        if "bits_per_byte" in first:
            entry = first["bits_per_byte"]
            yardsticks = [f"{label} needs {value:.2f}" for label, value in one.yardsticks.items()]
            note = "; ".join([f"{first_name} on held-out text", *yardsticks[:1]])
            cards.append(GlanceCard("Bits per byte", words.value("bits_per_byte", entry["value"]), note))
    models = run.of_kind("model")
    if models and (models[-1].path / "model.safetensors").is_file():
        count = parameters_of(models[-1].path)
        trained = sum(float(model.summary.get("tokens") or 0) for model in models)
        note = f"{words.count(trained)} tokens trained on, all stages" if trained else models[-1].name
        cards.append(GlanceCard("Parameters", words.count(count), note))
    total = cost_table(run).rows[-1]
    cards.append(GlanceCard("Time", total.cells[0], f"about {total.cells[2]} of electricity"))
    return cards
