"""The score tables: models by metric, families by model, and paired differences in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exnihilo.core.errors import Refused
from exnihilo.report import words
from exnihilo.report.figures import SERIES
from exnihilo.report.run import Record, RunFiles, StageFiles, parents, read_json

COLUMNS = (
    *("bits_per_byte", "answer_bits_per_byte", "answer_rouge_l"),
    *("accuracy", "accuracy/trained", "accuracy_items", "ended"),
)
OVERALL = ("accuracy", "accuracy/trained", "win_rate", "bits_per_byte", "answer_bits_per_byte")
MAJORITY = "Most frequent answer"
LONGEST_ANSWER = 32


@dataclass(frozen=True)
class Cell:
    """A value with its interval, as text; `best` marks the best of the models."""

    value: str = "–"
    span: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A line of a table; `series` is the number of its model's colour."""

    name: str
    cells: list[Cell]
    series: int | None = None
    trained: bool = False


@dataclass
class Table:
    """Column heads, each with a remark below it, and rows."""

    heads: list[tuple[str, str]]
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items: overall sentences, and one a family."""

    a: str
    b: str
    main: list[dict[str, str]]
    families: list[dict[str, str]]


@dataclass
class Results:
    """One results artifact, read."""

    stage: StageFiles
    models: dict[str, dict[str, Record]]
    families: dict[str, dict[str, Record]]
    majority: dict[str, Record]
    trained: list[str]
    paired: list[Record]
    yardsticks: dict[str, float]
    votes: dict[str, dict[str, dict[str, Record]]] = field(default_factory=dict)


def read_results(run: RunFiles) -> list[Results]:
    """Every results artifact of a run, in order."""
    found = []
    for stage in run.of_kind("results"):
        path = stage.path / "results.json"
        content = read_json(path)
        if not isinstance(content.get("models"), dict):
            raise Refused(f"{path}: no 'models', so these are no results; make the stage again")
        found.append(
            Results(
                stage,
                content["models"],
                content.get("families", {}),
                content.get("majority", {}),
                content.get("trained", []),
                content.get("paired", []),
                _yardsticks(run, stage),
                content.get("votes", {}),
            )
        )
    return found


def _yardsticks(run: RunFiles, stage: StageFiles) -> dict[str, float]:
    """Bits per byte that a compressor needs for the same held-out text, where curation measured it."""
    names = {
        "xz_bits_per_byte": "xz\u00a0−9e",
        "xz_primed_bits_per_byte": "xz\u00a0−9e, primed with the training text",
    }
    corpora = [s for s in run.of_kind("corpus") if s.name in parents(stage)]
    return {
        label: float(corpus.summary[key])
        for corpus in corpora
        for key, label in names.items()
        if corpus.summary.get(key) is not None
    }


def stage_scores(results: Sequence[Results]) -> dict[str, dict[str, Record]]:
    """Scores by model, families as `accuracy/<family>`; of two results for one model the later counts."""
    stages: dict[str, dict[str, Record]] = {}
    for one in results:
        for name, scores in one.models.items():
            families = {f"accuracy/{family}": entry for family, entry in one.families.get(name, {}).items()}
            stages.setdefault(name, {}).update({**scores, **families})
    return stages


def model_table(results: Results) -> Table:
    """Models by metric, the majority answer and the compressors below them."""
    columns = [c for c in COLUMNS if any(c in scores for scores in results.models.values())]
    columns += dict.fromkeys(
        c for scores in results.models.values() for c in scores if c.startswith("majority@")
    )
    best = {column: _best(column, results.models) for column in columns}
    table = Table([(words.title(column), _n(column, results.models.values())) for column in columns])
    for i, (name, scores) in enumerate(results.models.items()):
        cells = [_cell(column, scores.get(column), best[column] == name) for column in columns]
        table.rows.append(Row(name, cells, i % SERIES))
    if results.majority and "accuracy" in columns:
        mean = sum(entry["value"] for entry in results.majority.values()) / len(results.majority)
        table.rows.append(Row(MAJORITY, _only(columns, "accuracy", words.value("accuracy", mean))))
    for label, value in results.yardsticks.items():
        if "bits_per_byte" in columns:
            shown = words.value("bits_per_byte", value)
            table.rows.append(Row(label, _only(columns, "bits_per_byte", shown)))
    return table


def family_table(results: Results) -> Table | None:
    """Families by model, the majority answer last; None where no items were asked."""
    models = [name for name in results.models if name in results.families]
    families = sorted({family for name in models for family in results.families[name]})
    if not families:
        return None
    table = Table([("n", ""), *((name, "") for name in models)])
    if results.majority:
        table.heads.append((MAJORITY, ""))
    for family in families:
        scores = {
            name: {"accuracy": results.families[name][family]}
            for name in models
            if family in results.families[name]
        }
        best = _best("accuracy", scores)
        cells = [Cell(_n("accuracy", scores.values()).removeprefix("n = "))]
        cells += [_cell("accuracy", scores.get(name, {}).get("accuracy"), best == name) for name in models]
        if results.majority:
            cells.append(_majority(results.majority.get(family)))
        table.rows.append(Row(family, cells, trained=family in results.trained))
    return table


def _majority(entry: Mapping[str, Any] | None) -> Cell:
    if entry is None:
        return Cell()
    answer = str(entry.get("answer", ""))
    short = answer if len(answer) <= LONGEST_ANSWER else answer[: LONGEST_ANSWER - 1] + "…"
    return Cell(words.value("accuracy", entry["value"]), f"“{short}”")


def _n(metric: str, models: Iterable[Mapping[str, Record]]) -> str:
    """How many items or documents a metric is over: "n = 630", or "n = 600 to 630" where models differ."""
    counts = sorted({int(scores[metric]["n"]) for scores in models if metric in scores})
    return "n = " + " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))


def _cell(metric: str, entry: Mapping[str, Any] | None, best: bool) -> Cell:
    if entry is None:
        return Cell()
    return Cell(
        words.value(metric, entry["value"]),
        words.span(metric, entry["low"], entry["high"]),
        best,
    )


def _only(columns: Sequence[str], column: str, value: str) -> list[Cell]:
    return [Cell(value if name == column else "") for name in columns]


def _best(metric: str, models: Mapping[str, Mapping[str, Record]]) -> str | None:
    """The one model with the best value, where several have one; "ended" has no best."""
    values = {name: scores[metric]["value"] for name, scores in models.items() if metric in scores}
    if len(values) < 2 or metric == "ended":
        return None
    best = (min if metric in words.LOWER_IS_BETTER else max)(values.values())
    holders = [name for name, value in values.items() if value == best]
    return holders[0] if len(holders) == 1 else None


def comparisons(results: Results) -> list[Comparison]:
    """Paired differences in words, by pair of models in the order of the results."""
    found = []
    for a, b in dict.fromkeys((entry["a"], entry["b"]) for entry in results.paired):
        entries = {entry["what"]: entry for entry in results.paired if (entry["a"], entry["b"]) == (a, b)}
        main = [_sentence(entries.pop(what)) for what in OVERALL if what in entries]
        found.append(Comparison(a, b, main, [_sentence(entry) for entry in entries.values()]))
    return found


def _sentence(entry: Record) -> dict[str, str]:
    return {"verdict": words.verdict(entry), "sentence": words.difference(entry)}
