"""Numbers, comparisons and tables as a reader sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from exnihilo.report import words
from exnihilo.report.answers import PER_FAMILY, examples_by_family
from exnihilo.report.costs import cost_table
from exnihilo.report.data import facts, source_rows, waterfall
from exnihilo.report.drawing import draw_lineage
from exnihilo.report.run import read_run
from exnihilo.report.scores import comparisons, family_table, model_table, read_results


def paired(what: str, value: float, low: float, high: float, n: int = 70) -> dict[str, Any]:
    return {"a": "aligned", "b": "sft", "what": what, "value": value, "low": low, "high": high, "n": n}


@pytest.mark.parametrize(
    ("entry", "sentence", "verdict"),
    [
        (
            paired("accuracy/sequence", 0.123, 0.098, 0.149),
            "aligned is 12.3 points above sft, 95 % interval 9.8 to 14.9, on sequence (70 items)",
            "better",
        ),
        (
            paired("accuracy", -0.05, -0.08, -0.02, 1630),
            "aligned is 5.0 points below sft, 95 % interval −8.0 to −2.0, over all families (1,630 items)",
            "worse",
        ),
        (
            paired("accuracy/trained", -0.004, -0.02, 0.01),
            "aligned and sft cannot be told apart: −0.4 points, 95 % interval −2.0 to 1.0, "
            "over the families that alignment was trained on (70 items)",
            "open",
        ),
        (
            paired("bits_per_byte", 0.0311, 0.0281, 0.034),
            "aligned is 0.031 bits per byte above sft, 95 % interval 0.028 to 0.034, on 70 documents",
            "worse",
        ),
        (
            paired("bits_per_byte", -0.01, -0.02, -0.005),
            "aligned is 0.010 bits per byte below sft, 95 % interval −0.020 to −0.005, on 70 documents",
            "better",
        ),
        (
            paired("win_rate", 0.55, 0.52, 0.58),
            "aligned wins 55.0 % of 70 items against sft, half of those that both answer alike counted, "
            "95 % interval 52.0 to 58.0",
            "better",
        ),
        (
            paired("win_rate", 0.49, 0.47, 0.51),
            "aligned wins 49.0 % of 70 items against sft, half of those that both answer alike counted, "
            "95 % interval 47.0 to 51.0",
            "open",
        ),
    ],
)
def test_a_difference_in_words(entry: dict[str, Any], sentence: str, verdict: str) -> None:
    assert words.difference(entry).replace("\u00a0", " ") == sentence
    assert words.verdict(entry) == verdict


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.44, "4.4 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (627, "10 min 27 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (12_400, "12,400"),
        (2.62e6, "2.62 million"),
        (999_600_000, "1 billion"),
        (1.1e14, "110 trillion"),
        (9.997e14, "1.0 × 10¹⁵"),
        (3.1e17, "3.1 × 10¹⁷"),
    ],
)
def test_counts(number: float, text: str) -> None:
    assert words.count(number) == text


def test_sizes() -> None:
    assert [words.size(n) for n in (7, 1200, 3.44e6, 2e9)] == ["7 bytes", "1.2 kB", "3.44 MB", "2 GB"]
    assert [words.size(n) for n in (999_700, 4.2e12)] == ["1 MB", "4.2 TB"]


def test_metric_titles() -> None:
    assert words.title("accuracy/raises") == "Accuracy, raises"
    assert words.title("bits_per_byte") == "Bits per byte"
    assert words.title("sampler_gap") == "Sampler gap"


def test_the_model_table_marks_the_best_and_ends_with_the_yardsticks(full_run: Path) -> None:
    (results,) = read_results(read_run(full_run))
    table = model_table(results)
    names = [row.name.replace("\u00a0", " ") for row in table.rows]
    assert names == [
        *("base", "sft", "aligned", "Most frequent answer"),
        *("xz −9e", "xz −9e, primed with the training text"),
    ]
    heads = [head for head, _ in table.heads]
    best = {head: [r.name for r in table.rows if r.cells[i].best] for i, head in enumerate(heads)}
    assert best["Bits per byte"] == ["base"] and best["Accuracy"] == ["aligned"]
    assert best["Ended by itself"] == []
    assert table.heads[0] == ("Bits per byte", "n = 130") and table.heads[1] == ("Accuracy", "n = 630")
    assert table.rows[-2].cells[0].value == "1.690" and table.rows[-2].cells[1].value == ""


def test_the_family_table_has_majority_answers_and_marks_what_was_trained(full_run: Path) -> None:
    (results,) = read_results(read_run(full_run))
    table = family_table(results)
    assert table is not None
    assert [head for head, _ in table.heads] == ["n", "base", "sft", "aligned", "Most frequent answer"]
    rows = {row.name: row for row in table.rows}
    assert rows["truth"].trained and not rows["valid"].trained
    assert rows["truth"].cells[0].value == "70" and rows["truth"].cells[-1].span == "“Yes”"
    assert rows["doc"].cells[-1].span == "“Remove any common leading white…”"


def test_comparisons_put_accuracy_first_and_families_apart(full_run: Path) -> None:
    (results,) = read_results(read_run(full_run))
    found = comparisons(results)
    assert [(one.a, one.b) for one in found] == [("sft", "base"), ("aligned", "sft"), ("aligned", "base")]
    assert [("over all" in one["sentence"], one["verdict"]) for one in found[1].main] == [
        *((True, "better"), (False, "better"), (False, "better"), (False, "worse")),
    ]
    assert len(found[1].families) == 9 and all(" on " in one["sentence"] for one in found[1].families)


def test_examples_are_one_of_each_pattern_the_gains_first() -> None:
    def records(*correct: bool) -> list[dict[str, Any]]:
        return [
            {
                "id": str(i),
                "family": "f",
                "prompt": f"{i}?",
                "answer": "a",
                "output": "o",
                "correct": c,
                "finish": "stop",
            }
            for i, c in enumerate(correct)
        ]

    items = {
        "base": records(False, False, True, True, False, False),
        "sft": records(False, True, True, False, False, True),
    }
    (examples,) = examples_by_family(items).values()
    assert [one.prompt for one in examples] == ["1?", "3?", "2?", "0?"] and len(examples) == PER_FAMILY
    assert [(reply.model, reply.correct) for reply in examples[0].replies] == [("base", False), ("sft", True)]


def test_the_waterfall_ends_where_it_should() -> None:
    removed = {"too short": {"count": 30, "examples": []}, "exact duplicate": {"count": 20, "examples": []}}
    kept = {"train": {"documents": 40, "bytes": 4000}, "held_out": {"documents": 10, "bytes": 100}}
    read, short, duplicate, train, held_out = waterfall({"read": 100, "removed": removed, **kept})
    assert (read.start, read.width) == (0, 100)
    assert (short.start, short.width, short.amount) == (70, 30, "−30")
    assert (duplicate.start, duplicate.width) == (50, 20)
    assert (train.start, train.width, train.amount) == (0, 40, "40 documents, 4 kB")
    assert (held_out.start, held_out.width) == (40, 10)


def test_sources_are_shares_within_a_unit() -> None:
    source = {"licence": "", "generator": ""}
    rows = source_rows(
        [
            {"source": "a", **source, "amount": 250, "unit": "bytes"},
            {"source": "b", **source, "amount": 750, "unit": "bytes"},
            {"source": "c", **source, "generator": "model", "amount": 3, "unit": "conversations"},
        ]
    )
    assert [(row["source"], row["share"], row["generator"]) for row in rows] == [
        ("b", "75.0 %", "people"),
        ("a", "25.0 %", "people"),
        ("c", "100.0 %", "model"),
    ]
    assert rows[0]["licence"] == "unknown"


def test_facts_flatten_a_summary() -> None:
    assert facts(
        {
            "print": "ab" * 32,
            "held_out_bytes": 2000,
            "documents": 1500,
            "share": 0.25,
            "yes": True,
            "in": {"b": 1},
        }
    ) == [
        ("print", "abababababab"),
        ("held out bytes", "2 kB"),
        ("documents", "1,500"),
        ("share", "0.25"),
        ("yes", "True"),
        ("in: b", "1"),
    ]


def test_costs_add_up(full_run: Path) -> None:
    table = cost_table(read_run(full_run))
    assert table.rows[-1].total and table.rows[-1].cells[0] == "10 min 27 s"
    # 3 × 1.1e14 FLOPs; PUE 1.58 × 626.7 s × (2 × 12 W + 7.8 GiB × 0.3725 W).
    assert table.rows[-1].cells[1:3] == [
        "330 trillion",
        f"{1.58 * 626.7 / 3600 * (24 + 7.8 * 0.3725):.3g} Wh",
    ]
    assert "PUE 1.58" in table.formulas[0] and "CO2e" in table.formulas[1]


def test_the_drawing_names_every_stage_and_has_an_arc_for_every_input(full_run: Path) -> None:
    stages = read_run(full_run).stages
    svg = ElementTree.fromstring(str(draw_lineage(stages)))
    texts = [element.text for element in svg.iter("text")]
    assert texts == [stage.name for stage in stages]
    assert len(list(svg.iter("path"))) == sum(len(stage.manifest["inputs"]) for stage in stages) == 15
