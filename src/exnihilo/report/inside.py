"""What a training stage showed of itself: advice, norms by parameter, the profile of a step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from exnihilo.core.jsonl import read_jsonl
from exnihilo.report import words
from exnihilo.report.figures import Chart, Figure, layout_of
from exnihilo.report.run import Record, read_json

COLUMNS = 200
"""Steps that a heatmap shows at most."""
HEATMAPS = (
    (
        "update_ratio",
        "Size of an update against the weights",
        "norm of the step's change over the weights' norm",
    ),
    ("gradient", "Gradient norm, before clipping", "norm of the gradient"),
    ("weight", "Weight norm", "norm of the weights"),
)


def advice(stage: Path) -> list[Record]:
    """What was said about the run, in the order of steps: `step` and `text`."""
    return _records(stage / "advice.jsonl")


def norm_charts(stage: Path) -> list[Chart]:
    """Heatmaps of norms.jsonl: parameters by steps; none where norms were not asked for."""
    records = _records(stage / "norms.jsonl")
    if len(records) > COLUMNS:
        step = (len(records) - 1) / (COLUMNS - 1)
        records = [records[round(i * step)] for i in range(COLUMNS)]
    return [_heatmap(records, *about) for about in HEATMAPS] if records else []


def profile_table(stage: Path) -> dict[str, Any] | None:
    """The table of profile.json as text, or None where no step was profiled."""
    path = stage / "profile.json"
    if not path.is_file():
        return None
    found = read_json(path)
    products = found["products"]
    peak = products["of_peak"]
    return {
        "summary": f"Step {found['step']} took {words.duration(found['seconds'])}. Matrix products were "
        f"{100 * products['share']:.0f} % of it, at {words.count(products['flops_per_second'])} FLOP/s"
        + ("." if peak is None else f", {100 * peak:.0f} % of the peak.")
        + " Operations by the time in themselves; trace.json has all of them.",
        "rows": [
            {
                "name": one["name"],
                "calls": f"{one['calls']:,}",
                "time": f"{1000 * one['seconds']:.2f} ms",
                "share": f"{100 * one['share']:.1f} %",
            }
            for one in found["operations"]
        ],
    }


def _heatmap(records: list[Record], key: str, title: str, unit: str) -> Chart:
    """Colours are of the logarithm, since norms span orders of magnitude; zero is a gap."""
    names = list(records[-1][key])
    values = [[record[key].get(name) for record in records] for name in names]
    figure: Figure = {
        "type": "heatmap",
        "x": [record["step"] for record in records],
        "y": names,
        "z": [[math.log10(value) if value else None for value in row] for row in values],
        "customdata": values,
        "hovertemplate": "%{y}, step %{x}: %{customdata:.3g}<extra></extra>",
        "colorscale": [[0, "var(--wash)"], [0.5, "var(--s1)"], [1, "var(--s2)"]],
        "colorbar": {"title": {"text": "log₁₀", "side": "right"}, "thickness": 12, "outlinewidth": 0},
    }
    layout = layout_of(90 + 15 * len(names), left=220)
    layout["xaxis"] |= {"title": {"text": "step"}}
    layout["yaxis"] |= {"autorange": "reversed", "tickfont": {"size": 10}}
    return Chart(title, {"data": [figure], "layout": layout}, f"Colour: logarithm of the {unit}.")


def _records(path: Path) -> list[Record]:
    return [record for _, record in read_jsonl(path)] if path.is_file() else []
