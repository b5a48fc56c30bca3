"""The comparison as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exnihilo.lab.metrics import parts_of
from exnihilo.report.words import is_share, signed

VERDICTS = {
    "better": "better",
    "worse": "worse",
    "other": "differs",
    "open": "cannot be told apart",
    "same": "the same in every seed",
    "unknown": "not known",
}
TELLING = ("better", "worse", "other")
HEADS = ("metric", "{a}", "{b}", "difference", "95 % over seeds", "over items", "detectable", "")


def show(metric: str, number: float, *, sign: bool = False) -> str:
    """A value or (with `sign`) a difference: 74.3 %, +2.1 points, 1.3820, +12,400."""
    plus = "+" if sign else ""
    if is_share(parts_of(metric)[1]):
        number = round(100 * number, 1) + 0.0  # no minus before a zero
        return signed(f"{number:{plus}.1f}{' points' if sign else ' %'}")
    digits = 4 if abs(number) < 10 else 2 if abs(number) < 1000 else 0
    return signed(f"{number:{plus},.{digits}f}")


def span(metric: str, low: float | None, high: float | None) -> str:
    """An interval of differences: "+0.0110 to +0.0490", in points where the metric is a share."""
    if low is None or high is None:
        return "–"
    return f"{show(metric, low, sign=True).removesuffix(' points')} to {show(metric, high, sign=True)}"


def smallest(entry: Mapping[str, Any]) -> str:
    """The smallest detectable difference."""
    if entry["detectable"] is None:
        return "–"
    return show(entry["metric"], entry["detectable"], sign=True).removeprefix("+")


def table(comparison: Mapping[str, Any]) -> list[str]:
    """What was compared, a table for each arm against the first, and the notes.

    Of scores by family or source only those that differ are shown.
    """
    seeds = comparison["seeds"]
    plural = "s" if len(seeds) > 1 else ""
    lines = [f"{comparison['recipe']}: {varied(comparison)}; seed{plural} {', '.join(map(str, seeds))}"]
    lines.append(equality(comparison["compute"]))
    for other in comparison["arms"][1:]:
        entries = [one for one in comparison["comparisons"] if one["b"] == other["name"]]
        shown = [one for one in entries if one["verdict"] in TELLING or "/" not in one["metric"]] or entries
        lines += ["", *aligned(_rows(comparison, shown))]
        if len(shown) < len(entries):
            lines.append(f"{len(entries) - len(shown)} more, by family and source, are in the report")
    lines += ["", *comparison["notes"]] if comparison["notes"] else []
    return lines


def varied(comparison: Mapping[str, Any]) -> str:
    """base.optimizer.name: muon, adamw."""
    return "; ".join(f"{key}: {', '.join(values)}" for key, values in comparison["vary"].items())


def equality(spent: Mapping[str, Any]) -> str:
    """Whether the arms spent the same, in a sentence."""
    what = {"flops": "training FLOPs", "steps": "steps", "time": "training time"}[spent["equal"]]
    if not spent["stages"]:
        return "no training stage differs between the arms"
    if spent["equal"] == "steps":
        return "every arm takes the steps of its recipe"
    word = "equal" if spent["agreed"] else "NOT equal"
    return f"{word} {what}: the arms differ by at most {spent['largest_difference']:.1%}"


def _rows(comparison: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    if not entries:
        return []
    names = {"a": entries[0]["a"], "b": entries[0]["b"]}
    rows = [[head.format(**names) for head in HEADS]]
    for one in entries:
        metric, items = one["metric"], one["items"] or {}
        means = [mean(comparison["values"][one[side]][metric]) for side in ("a", "b")]
        rows.append(
            [
                metric,
                *(show(metric, value) for value in means),
                show(metric, one["value"], sign=True),
                span(metric, one["low"], one["high"]),
                span(metric, items.get("low"), items.get("high")),
                smallest(one),
                VERDICTS[one["verdict"]],
            ]
        )
    return rows


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return sum(values) / len(values)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with columns."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
