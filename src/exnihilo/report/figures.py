"""The charts of scores, and what all charts share: plain plotly figures (`{"data": …, "layout": …}`).

Colours are names of the page's CSS variables (`var(--s0)`); the page's script resolves them, so that one
figure serves light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exnihilo.report.run import Record

Figure = dict[str, Any]

SERIES = 8


@dataclass
class Chart:
    """A figure with its title; `note` says how to read it."""

    title: str
    figure: Figure = field(repr=False)
    note: str = ""


def bits_per_byte_chart(
    models: Mapping[str, Mapping[str, Record]], yardsticks: Mapping[str, float]
) -> Chart | None:
    """Bits per byte by model with intervals; dashed, what a compressor needs for the same text."""
    entries = [
        (i, name, scores["bits_per_byte"])
        for i, (name, scores) in enumerate(models.items())
        if "bits_per_byte" in scores
    ]
    if not entries:
        return None
    data = [
        _dot(name, i, [entry], [row], "%{x:.3f} bits per byte")
        for row, (i, name, entry) in enumerate(entries)
    ]
    layout = layout_of(90 + 34 * len(entries), left=110)
    layout["xaxis"] |= {"title": {"text": "bits per byte on held-out text (lower is better)"}}
    layout["yaxis"] |= {
        "tickvals": list(range(len(entries))),
        "ticktext": [name for _, name, _ in entries],
        "range": [len(entries) - 0.4, -0.6],
    }
    layout |= {"showlegend": False, "shapes": [], "annotations": []}
    layout["margin"]["t"] = 26 if yardsticks else 8
    for label, value in yardsticks.items():
        line = {"color": "var(--muted)", "width": 1.5, "dash": "dash"}
        ends = {"x0": value, "x1": value, "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"].append({"type": "line", **ends, "line": line})
        layout["annotations"].append(
            {"x": value, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": label}
        )
    return Chart("Held-out text", {"data": data, "layout": layout}, "Bars are 95 % intervals over documents.")


def family_chart(
    families: Mapping[str, Mapping[str, Record]], majority: Mapping[str, Record], order: Sequence[str]
) -> Chart | None:
    """Accuracy by family: a dot and its 95 % interval a model, and a bar where the majority answer gets."""
    names = sorted({family for scores in families.values() for family in scores})
    if not names:
        return None
    models = [model for model in order if model in families]
    step = 0.7 / max(1, len(models))
    data = []
    if majority:
        data.append(_majority_marks(names, majority, 9 + 8 * len(models)))
    for i, model in enumerate(models):
        shift = (i - (len(models) - 1) / 2) * step
        scores = families[model]
        rows = [row for row, name in enumerate(names) if name in scores]
        entries = [{key: 100 * scores[names[row]][key] for key in ("value", "low", "high")} for row in rows]
        index = list(order).index(model)
        data.append(_dot(model, index, entries, [row + shift for row in rows], "%{x:.1f} %"))
    layout = layout_of(100 + len(names) * (18 + 13 * len(models)), left=150)
    layout["xaxis"] |= {"title": {"text": "right answers, per cent"}, "range": [-2, 102]}
    layout["yaxis"] |= {"tickvals": list(range(len(names))), "ticktext": names}
    layout["yaxis"]["range"] = [len(names) - 0.5, -0.5]
    layout["showlegend"] = True
    return Chart("Accuracy by family", {"data": data, "layout": layout}, "Bars are 95 % intervals.")


def _majority_marks(names: Sequence[str], majority: Mapping[str, Record], size: int) -> Figure:
    rows = [row for row, name in enumerate(names) if name in majority]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "most frequent answer",
        "x": [100 * majority[names[row]]["value"] for row in rows],
        "y": rows,
        "marker": {"symbol": "line-ns-open", "size": size, "color": "var(--ink)", "line": {"width": 2}},
        "hovertemplate": "most frequent answer: %{x:.1f} %<extra></extra>",
    }


def _dot(name: str, index: int, entries: Sequence[Record], rows: Sequence[float], hover: str) -> Figure:
    colour = f"var(--s{index % SERIES})"
    return {
        "type": "scatter", "mode": "markers", "name": name,
        "x": [entry["value"] for entry in entries], "y": list(rows),
        "marker": {"size": 9, "color": colour},
        "error_x": {
            "type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 0,
            "array": [entry["high"] - entry["value"] for entry in entries],
            "arrayminus": [entry["value"] - entry["low"] for entry in entries],
        },
        "hovertemplate": f"{name}: {hover}<extra></extra>",
    }  # fmt: skip


def layout_of(height: int, left: int = 56) -> Figure:
    """The layout that a chart starts from."""
    return {
        "height": height,
        "margin": {"l": left, "r": 16, "t": 8, "b": 44},
        "xaxis": {"automargin": True, "zeroline": False},
        "yaxis": {"automargin": True, "zeroline": False},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }
