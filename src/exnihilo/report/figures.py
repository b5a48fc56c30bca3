"""The report's charts, as plain plotly figures (`{"data": …, "layout": …}`).

Colours are names of the page's CSS variables (`var(--s0)`); the page's script resolves them, so that one
figure serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exnihilo.report import words
from exnihilo.report.run import Record

Figure = dict[str, Any]

# A curve keeps at most this many points: more than the pixels it gets.
POINTS = 600
SERIES = 8


@dataclass
class Chart:
    """A figure with its title; `note` says how to read it."""

    title: str
    figure: Figure = field(repr=False)
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """A key of metrics.jsonl as a line: its name in the legend and its style."""

    key: str
    name: str
    style: str = "line"


STYLES: dict[str, Figure] = {
    "line": {"type": "scatter", "mode": "lines", "line": {"width": 2, "color": "var(--s1)"}},
    "faint": {"type": "scatter", "mode": "lines", "line": {"width": 1, "color": "var(--faint)"}},
    "dots": {
        "type": "scatter",
        "mode": "lines+markers",
        "line": {"width": 1.5, "color": "var(--s2)", "dash": "dot"},
        "marker": {"size": 6, "color": "var(--s2)"},
    },
}


@dataclass(frozen=True)
class Panel:
    """Curves that share one chart, because they share a unit."""

    title: str
    curves: tuple[Curve, ...]
    unit: str = ""
    from_zero: bool = False


LEARNING = (
    Panel(
        "Loss",
        (
            Curve("loss", "training", "faint"),
            Curve("ema", "training, averaged"),
            Curve("validation_loss", "validation", "dots"),
        ),
        "nats per token",
    ),
    Panel("Validation", (Curve("validation_bits_per_byte", "held-out text", "dots"),), "bits per byte"),
)
REINFORCEMENT = (
    Panel("Reward", (Curve("reward", "mean reward"),)),
    Panel("KL to the reference", (Curve("kl", "KL"),), "nats per token", from_zero=True),
    Panel("Entropy", (Curve("entropy", "entropy"),), "nats per token", from_zero=True),
    Panel("Length of answers", (Curve("response_length", "length"),), "tokens", from_zero=True),
    Panel("Answers that ended by themselves", (Curve("ended", "share"),)),
    Panel("Groups without a signal, all answers alike", (Curve("flat", "share"),), from_zero=True),
)
POLICY_LOSS = Panel("Policy loss", (Curve("loss", "loss", "faint"), Curve("ema", "averaged")))
RUNNING = (
    Panel("Learning rate", (Curve("lr", "learning rate"),), from_zero=True),
    Panel("Gradient norm, before clipping", (Curve("grad_norm", "gradient norm"),), from_zero=True),
    Panel("Speed", (Curve("tokens_per_second", "tokens per second"),), "tokens per second", from_zero=True),
    Panel("Model-FLOPs utilisation", (Curve("mfu", "utilisation"),), "share of the peak", from_zero=True),
)

# What counts or dates a line of metrics is an axis, not a curve.
AXES = {"step", "tokens", "time", "seconds", "epoch"}


def training_charts(metrics: Sequence[Record]) -> tuple[list[Chart], list[Chart]]:
    """(what was learned, how the training ran): curves against trained tokens, or steps without them.

    Curves of one unit share a chart. A number that no panel knows gets a chart of its own among the last.
    """
    axis = "tokens" if all("tokens" in record for record in metrics) else "step"
    keys = {key for record in metrics for key in record}
    # A policy's loss is no measure of what it has learned: its mean is near zero by construction.
    panels, rest = (REINFORCEMENT, (POLICY_LOSS, *RUNNING)) if "reward" in keys else (LEARNING, RUNNING)
    known = {curve.key for panel in panels + rest for curve in panel.curves}
    own = (
        Panel(words.title(key), (Curve(key, words.title(key).lower()),))
        for key in sorted(keys - known - AXES)
    )
    learning = [chart(panel, metrics, axis) for panel in panels]
    running = [chart(panel, metrics, axis) for panel in (*rest, *own)]
    return [found for found in learning if found], [found for found in running if found]


def chart(panel: Panel, metrics: Sequence[Record], axis: str) -> Chart | None:
    """One panel, or None where fewer than two points were recorded."""
    data = []
    for curve in panel.curves:
        points = _points(metrics, axis, curve.key)
        if len(points) >= 2:
            x, y = zip(*points, strict=True)
            data.append({"x": list(x), "y": list(y), "name": curve.name, **STYLES[curve.style]})
    if not data:
        return None
    layout = _layout(250)
    label = "tokens trained on" if axis == "tokens" else axis
    layout["xaxis"] |= {"title": {"text": label}, "rangemode": "tozero"}
    layout["yaxis"] |= {
        "title": {"text": panel.unit, "standoff": 10},
        "rangemode": "tozero" if panel.from_zero else "normal",
    }
    layout |= {"hovermode": "x unified", "showlegend": len(data) > 1}
    return Chart(panel.title, {"data": data, "layout": layout})


def _points(metrics: Sequence[Record], axis: str, key: str) -> list[tuple[float, float]]:
    points = [
        (record[axis], record[key])
        for record in metrics
        if _number(record.get(axis)) and _number(record.get(key))
    ]
    if len(points) <= POINTS:
        return points
    step = (len(points) - 1) / (POINTS - 1)
    return [points[round(i * step)] for i in range(POINTS)]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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
    layout = _layout(90 + 34 * len(entries), left=110)
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
    layout = _layout(100 + len(names) * (18 + 13 * len(models)), left=150)
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


def _layout(height: int, left: int = 56) -> Figure:
    return {
        "height": height,
        "margin": {"l": left, "r": 16, "t": 8, "b": 44},
        "xaxis": {"automargin": True, "zeroline": False},
        "yaxis": {"automargin": True, "zeroline": False},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }
