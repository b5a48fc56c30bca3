"""`report.html` of a comparison: the verdicts, differences with intervals, curves, and what was spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exnihilo.core.progress import short
from exnihilo.lab.figures import curve_chart, difference_charts
from exnihilo.lab.measure import Record
from exnihilo.lab.runs import Finished
from exnihilo.lab.table import VERDICTS, equality, mean, show, smallest, span, varied
from exnihilo.report import words
from exnihilo.report.figures import SERIES
from exnihilo.report.shell import Figures, fill

CURVES = {"validation_bits_per_byte": "validation, bits per byte", "validation_loss": "validation loss"}
MARKS = {"better": "better", "worse": "worse"}


def render(finished: Finished, comparison: Record) -> str:
    """The page as HTML, self-contained."""
    figures = Figures()
    question = finished.question
    names = [arm.name for arm in question.arms]
    told = equality(comparison["compute"])
    charts = figures.place(difference_charts(comparison["comparisons"], names))
    context = {
        "name": question.recipe,
        "varied": varied(comparison),
        "lead": _lead(comparison),
        "equality": told[0].upper() + told[1:],
        "notes": comparison["notes"],
        "seeds": comparison["seeds"],
        "tables": [_table(comparison, other) for other in names[1:]],
        "charts": charts,
        "curves": figures.place(_curves(finished)),
        "arms": [
            {"name": name, "series": i % SERIES, "settings": arm["settings"], "artifacts": _last(arm)}
            for i, (name, arm) in enumerate(zip(names, comparison["arms"], strict=True))
        ],
        "spent": _spent(comparison["compute"]["stages"]),
        "formulas": comparison["formulas"],
    }
    return fill("exnihilo.lab", "compare.html.jinja", context, figures)


def _lead(comparison: Record) -> str:
    """The answer in a sentence for each arm: what is better, worse or otherwise different, or that all is open."""
    sentences = []
    for other in comparison["arms"][1:]:
        own = [one for one in comparison["comparisons"] if one["b"] == other["name"]]
        counts = {
            word: [one["metric"] for one in own if one["verdict"] == verdict]
            for verdict, word in (("better", "better"), ("worse", "worse"), ("other", "different"))
        }
        told = [
            f"{word} in {len(found)} of {len(own)} ({_some(found)})"
            for word, found in counts.items()
            if found
        ]
        first = comparison["arms"][0]["name"]
        if told:
            sentences.append(f"{other['name']} against {first}: {', '.join(told)}.")
        else:
            sentences.append(
                f"{other['name']} and {first} cannot be told apart in any of {len(own)} metrics."
            )
    return " ".join(sentences)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _table(comparison: Record, other: str) -> Record:
    entries = [one for one in comparison["comparisons"] if one["b"] == other]
    return {
        "a": comparison["arms"][0]["name"],
        "b": other,
        "rows": [_row(comparison["values"], one) for one in entries],
    }


def _row(values: Mapping[str, Mapping[str, Sequence[float]]], one: Mapping[str, Any]) -> Record:
    metric, items = one["metric"], one["items"] or {}
    cells = []
    for arm in (one["a"], one["b"]):
        own = values[arm][metric]
        each = ", ".join(show(metric, value) for value in own) if len(own) > 1 else ""
        cells.append({"value": show(metric, mean(own)), "span": each})
    return {
        "metric": metric,
        "cells": cells,
        "difference": show(metric, one["value"], sign=True),
        "over_seeds": span(metric, one["low"], one["high"]),
        "over_items": span(metric, items.get("low"), items.get("high")),
        "detectable": smallest(one),
        "p_holm": "–" if one["p_holm"] is None else f"{one['p_holm']:.2g}",
        "verdict": VERDICTS[one["verdict"]],
        "mark": MARKS.get(one["verdict"], "open"),
    }


def _curves(finished: Finished) -> list[Any]:
    question = finished.question
    charts = []
    for stage in question.trained:
        folders = {
            arm.name: [finished.place(arm, seed, stage) for seed in question.seeds] for arm in question.arms
        }
        for key, title in CURVES.items():
            chart = curve_chart(stage, folders, key, title)
            if chart is not None:
                charts.append(chart)
                break
    return charts


def _last(arm: Record) -> list[str]:
    """The folders of an arm's own runs, one a seed: those whose names tell most of what is its own."""
    return [
        max((place.rpartition("/")[0] for place in found.values()), key=len)
        for found in arm["artifacts"].values()
    ]


def _spent(stages: Sequence[Record]) -> list[Record]:
    """Rows of what each arm spent on each stage, means over seeds."""
    return [
        {
            "stage": one["stage"],
            "arm": one["arm"],
            "steps": f"{mean(one['steps']):,.0f}",
            "flops": short(mean(one["flops"])),
            "time": words.duration(mean(one["seconds"])),
        }
        for one in stages
    ]
