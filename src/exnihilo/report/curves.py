"""The curves of training, from metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from exnihilo.report import words
from exnihilo.report.figures import SERIES, Chart, Figure, layout_of
from exnihilo.report.run import Record

# A curve keeps at most this many points: more than the pixels it gets.
POINTS = 600


@dataclass(frozen=True)
class Curve:
    """A key of metrics.jsonl as a line: its name in the legend, its style, over how many points it is averaged, and
    which of the page's series gives its colour (None: the style's own)."""

    key: str
    name: str
    style: str = "line"
    window: int = 1
    series: int | None = None


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
    Panel(
        "Reward",
        (
            Curve("reward", "each step", "faint"),
            Curve("reward", "mean of 10 steps", window=10),
            Curve("second", "second reward, not trained on", window=10, series=2),
        ),
    ),
    Panel("Gold reward, which training never reads", (Curve("gold", "mean of 10 steps", window=10),)),
    Panel("KL to the reference", (Curve("kl", "KL"),), "nats per token", from_zero=True),
    Panel("KL to the reference, of a whole answer", (Curve("kl_per_sequence", "KL"),), "nats per sequence"),
    Panel("Weight of the KL", (Curve("beta", "beta"),), from_zero=True),
    Panel("Entropy", (Curve("entropy", "entropy"),), "nats per token", from_zero=True),
    Panel(
        "Trainer against sampler, difference of log-probabilities",
        (Curve("sampler_gap", "mean"), Curve("sampler_gap_max", "largest", "faint")),
        "nats per token",
        from_zero=True,
    ),
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


@dataclass(frozen=True)
class Family:
    """Keys that begin alike, one for each source of text, which share a chart; `learned` says in which group."""

    prefix: str
    title: str
    unit: str
    learned: bool


BY_SOURCE = (
    Family("loss/", "Training loss by source, since the line before", "nats per token", True),
    Family("validation_loss/", "Validation loss by source", "nats per token", True),
    Family("validation_bits_per_byte/", "Validation by source", "bits per byte", True),
    Family("share/", "Share of the trained tokens by source", "share", False),
)

# What counts or dates a line of metrics is an axis, and a standard error is part of its mean: neither is a curve.
AXES = {"step", "tokens", "time", "seconds", "epoch"}
ERRORS = {"second_error"}


def training_charts(metrics: Sequence[Record]) -> tuple[list[Chart], list[Chart]]:
    """(what was learned, how the training ran): curves against trained tokens, or steps without them.

    Curves of one unit share a chart. A number that no panel knows gets a chart of its own among the last.
    """
    axis = "tokens" if all("tokens" in record for record in metrics) else "step"
    keys = {key for record in metrics for key in record}
    # A policy's loss is no measure of what it has learned: its mean is near zero by construction.
    rewarded = "reward" in keys
    panels: tuple[Panel, ...] = REINFORCEMENT if rewarded else LEARNING
    rest: tuple[Panel, ...] = (POLICY_LOSS, *RUNNING) if rewarded else RUNNING
    panels += tuple(_by_source(family, keys) for family in BY_SOURCE if family.learned)
    rest += tuple(_by_source(family, keys) for family in BY_SOURCE if not family.learned)
    known = {curve.key for panel in panels + rest for curve in panel.curves}
    own = (
        Panel(words.title(key), (Curve(key, words.title(key).lower()),))
        for key in sorted(keys - known - AXES - ERRORS)
    )
    learning = [chart(panel, metrics, axis) for panel in panels]
    running = [chart(panel, metrics, axis) for panel in (*rest, *own)]
    return [found for found in learning if found], [found for found in running if found]


def _by_source(family: Family, keys: Collection[str]) -> Panel:
    """The panel of a family's keys, in the order of their names; without any it has no curves, and is not shown."""
    found = sorted(key for key in keys if key.startswith(family.prefix))
    style = "dots" if family.prefix.startswith("validation") else "line"
    curves = (
        Curve(key, key.removeprefix(family.prefix), style, series=i % SERIES) for i, key in enumerate(found)
    )
    return Panel(family.title, tuple(curves), family.unit, from_zero=not family.learned)


def chart(panel: Panel, metrics: Sequence[Record], axis: str) -> Chart | None:
    """One panel, or None where fewer than two points were recorded."""
    data = []
    for curve in panel.curves:
        points = _thin(_averaged(_points(metrics, axis, curve.key), curve.window))
        if len(points) >= 2:
            x, y = zip(*points, strict=True)
            data.append({"x": list(x), "y": list(y), "name": curve.name, **_style(curve)})
    if not data:
        return None
    layout = layout_of(250)
    label = "tokens trained on" if axis == "tokens" else axis
    layout["xaxis"] |= {"title": {"text": label}, "rangemode": "tozero"}
    layout["yaxis"] |= {
        "title": {"text": panel.unit, "standoff": 10},
        "rangemode": "tozero" if panel.from_zero else "normal",
    }
    layout |= {"hovermode": "x unified", "showlegend": len(data) > 1}
    return Chart(panel.title, {"data": data, "layout": layout})


def _style(curve: Curve) -> Figure:
    """The look of a curve; one of several sources takes the colour of its series."""
    style = STYLES[curve.style]
    if curve.series is None:
        return style
    colour = {"color": f"var(--s{curve.series})"}
    return {key: value | colour if isinstance(value, dict) else value for key, value in style.items()}


def _points(metrics: Sequence[Record], axis: str, key: str) -> list[tuple[float, float]]:
    return [
        (record[axis], record[key])
        for record in metrics
        if _number(record.get(axis)) and _number(record.get(key))
    ]


def _averaged(points: list[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Each point's mean with the ones before it, `window` in all (fewer at the beginning)."""
    values = [y for _, y in points]
    recent = [values[max(0, i + 1 - window) : i + 1] for i in range(len(values))]
    return [(x, sum(part) / len(part)) for (x, _), part in zip(points, recent, strict=True)]


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= POINTS:
        return points
    step = (len(points) - 1) / (POINTS - 1)
    return [points[round(i * step)] for i in range(POINTS)]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
