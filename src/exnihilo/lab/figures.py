"""The charts of a comparison: differences with their intervals, and the arms' curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exnihilo.core.jsonl import read_jsonl
from exnihilo.lab.metrics import parts_of
from exnihilo.report.figures import SERIES, Chart, Figure, layout_of
from exnihilo.report.words import is_share

Record = Mapping[str, Any]

UNITS = {
    "bits_per_byte": "bits per byte",
    "answer_bits_per_byte": "bits per byte",
    "validation_bits_per_byte": "bits per byte",
    "loss": "nats per token",
    "validation_loss": "nats per token",
    "training_loss": "nats per token",
    "perplexity": "perplexity",
    "tokens_per_second": "tokens per second",
    "seconds": "seconds",
}
NOTE = (
    "Dots are means over seeds, bars their 95 % intervals, small circles single seeds; the thin bar is the "
    "interval over held-out items. The grey band is what could not be told from zero: differences smaller than "
    "the smallest detectable one."
)


def unit_of(metric: str) -> str:
    """What a metric is measured in; metrics of one unit share a chart."""
    name = parts_of(metric)[1]
    return "points" if is_share(name) else UNITS[name.partition("/")[0]]


def difference_charts(comparisons: Sequence[Record], order: Sequence[str]) -> list[Chart]:
    """For each unit a chart of all differences in it, an arm a colour (`order`: the arms' names)."""
    groups: dict[str, list[Record]] = {}
    for one in comparisons:
        groups.setdefault(unit_of(one["metric"]), []).append(one)
    charts = [_difference_chart(unit, entries, order) for unit, entries in groups.items()]
    charts[0].note = NOTE
    return charts


def _difference_chart(unit: str, entries: Sequence[Record], order: Sequence[str]) -> Chart:
    scale = 100.0 if unit == "points" else 1.0
    metrics = list(dict.fromkeys(one["metric"] for one in entries))
    arms = [name for name in order if any(one["b"] == name for one in entries)]
    step = 0.8 / len(arms)
    data: list[Figure] = []
    bands: list[Figure] = []
    for i, arm in enumerate(arms):
        own = [one for one in entries if one["b"] == arm]
        rows = [metrics.index(one["metric"]) + (i - (len(arms) - 1) / 2) * step for one in own]
        colour = f"var(--s{(order.index(arm)) % SERIES})"
        data += _marks(arm, own, rows, colour, scale, step)
        bands += [_band(one, row, scale, step) for one, row in zip(own, rows, strict=True)]
    layout = layout_of(110 + round(len(metrics) * (16 + 22 * len(arms))), left=190)
    layout["xaxis"] |= {"title": {"text": f"difference from {entries[0]['a']}, {unit}"}, "zeroline": True}
    layout["xaxis"] |= {"zerolinecolor": "var(--muted)", "zerolinewidth": 1.5}
    layout["yaxis"] |= {"tickvals": list(range(len(metrics))), "ticktext": metrics}
    layout["yaxis"]["range"] = [len(metrics) - 0.4, -0.6]
    layout |= {"showlegend": len(arms) > 1, "shapes": [band for band in bands if band]}
    return Chart(f"Differences, {unit}", {"data": data, "layout": layout})


def _marks(
    arm: str, entries: Sequence[Record], rows: Sequence[float], colour: str, scale: float, step: float
) -> list[Figure]:
    seeds = {
        "type": "scatter", "mode": "markers", "showlegend": False, "hoverinfo": "x",
        "x": [scale * value for one in entries for value in one["differences"]],
        "y": [row for one, row in zip(entries, rows, strict=True) for _ in one["differences"]],
        "marker": {"size": 6, "symbol": "circle-open", "color": colour},
    }  # fmt: skip
    with_items = [(one, row) for one, row in zip(entries, rows, strict=True) if one["items"]]
    return [
        seeds,
        {
            "type": "scatter", "mode": "markers", "showlegend": False, "hoverinfo": "skip",
            "x": [scale * one["items"]["value"] for one, _ in with_items],
            "y": [row + 0.22 * step for _, row in with_items],
            "marker": {"size": 1, "color": colour},
            "error_x": _bar([one["items"] for one, _ in with_items], colour, scale, 1),
        },
        {
            "type": "scatter", "mode": "markers", "name": arm,
            "x": [scale * one["value"] for one in entries], "y": list(rows),
            "marker": {"size": 10, "color": colour},
            "error_x": _bar(entries, colour, scale, 2),
            "hovertemplate": f"{arm}: %{{x:+.4g}}<extra></extra>",
        },
    ]  # fmt: skip


def _bar(entries: Sequence[Record], colour: str, scale: float, width: int) -> Figure:
    """Error bars from low to high; none where one seed has no interval."""
    up = [scale * (one["high"] - one["value"]) if one["high"] is not None else 0.0 for one in entries]
    down = [scale * (one["value"] - one["low"]) if one["low"] is not None else 0.0 for one in entries]
    shape = {"type": "data", "symmetric": False, "color": colour, "thickness": width, "width": 0}
    return {**shape, "array": up, "arrayminus": down}


def _band(one: Record, row: float, scale: float, step: float) -> Figure:
    """The differences too small to be found."""
    if not one["detectable"]:
        return {}
    reach = scale * one["detectable"]
    return {
        "type": "rect", "layer": "below", "x0": -reach, "x1": reach,
        "y0": row - 0.42 * step, "y1": row + 0.42 * step,
        "fillcolor": "var(--line)", "opacity": 0.6, "line": {"width": 0},
    }  # fmt: skip


def curve_chart(stage: str, folders: Mapping[str, Sequence[Path]], key: str, title: str) -> Chart | None:
    """A validation curve of a training stage, each seed a line, over the share of the training done.

    `folders`: {arm: artifacts by seed}. None where nobody validated twice.
    """
    data = []
    for i, (arm, artifacts) in enumerate(folders.items()):
        for number, folder in enumerate(artifacts):
            records = [record for _, record in read_jsonl(folder / "metrics.jsonl")]
            points = [(record["step"], record[key]) for record in records if key in record]
            if len(points) < 2:
                continue
            last = max(record["step"] for record in records)
            line = {"width": 2 if number == 0 else 1, "color": f"var(--s{i % SERIES})"}
            data.append(
                {
                    "type": "scatter", "mode": "lines+markers", "marker": {"size": 4},
                    "name": arm, "legendgroup": arm, "showlegend": number == 0,
                    "x": [100 * step / last for step, _ in points], "y": [value for _, value in points],
                    "line": line,
                }
            )  # fmt: skip
    if not data:
        return None
    layout = layout_of(280)
    layout["xaxis"] |= {"title": {"text": "per cent of the training"}}
    layout["yaxis"] |= {"title": {"text": UNITS[key], "standoff": 10}}
    layout["showlegend"] = True
    return Chart(f"{stage}: {title}", {"data": data, "layout": layout})
