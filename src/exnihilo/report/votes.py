"""The charts of votes: what the most frequent of k answers is worth, and a right one among them."""

from __future__ import annotations

from collections.abc import Mapping

from exnihilo.report.figures import SERIES, Chart, Figure, layout_of
from exnihilo.report.run import Record

NOTE = (
    "Lines: the most frequent answer, with 95 % intervals over items; dotted: how often any of the answers is right. "
    "A vote gains where the right answer is the one given most often, and loses where a wrong one is."
)


def vote_charts(
    models: Mapping[str, Mapping[str, Record]], votes: Mapping[str, Mapping[str, Mapping[str, Record]]]
) -> list[Chart]:
    """Accuracy against the number of answers: by model over all families, and by family of the last model."""
    charts = [_chart("Votes", {name: scores for name, scores in models.items() if "majority@1" in scores})]
    if votes:
        last = list(votes)[-1]
        if len(votes[last]) > 1:
            charts.append(_chart(f"Votes of {last}, by family", votes[last]))
    return [chart for chart in charts if chart is not None]


def _chart(title: str, lines: Mapping[str, Mapping[str, Record]]) -> Chart | None:
    if not lines:
        return None
    data: list[Figure] = []
    for i, (name, scores) in enumerate(lines.items()):
        data += [_line(name, i, scores), _dots(name, i, scores)]
    layout = layout_of(320)
    sizes = sorted({k for scores in lines.values() for k in _by_size("majority", scores)})
    layout["xaxis"] |= {"title": {"text": "answers that vote"}, "type": "log", "tickvals": sizes}
    layout["xaxis"]["ticktext"] = [str(k) for k in sizes]
    layout["yaxis"] |= {"title": {"text": "right, per cent"}, "range": [-2, 102]}
    return Chart(title, {"data": data, "layout": layout}, NOTE)


def _line(name: str, index: int, scores: Mapping[str, Record]) -> Figure:
    found = _by_size("majority", scores)
    colour = f"var(--s{index % SERIES})"
    return {
        "type": "scatter", "mode": "lines+markers", "name": name, "legendgroup": name,
        "x": list(found), "y": [100 * entry["value"] for entry in found.values()],
        "line": {"width": 2, "color": colour}, "marker": {"size": 7, "color": colour},
        "error_y": {
            "type": "data", "symmetric": False, "color": colour, "thickness": 1.5, "width": 0,
            "array": [100 * (entry["high"] - entry["value"]) for entry in found.values()],
            "arrayminus": [100 * (entry["value"] - entry["low"]) for entry in found.values()],
        },
        "hovertemplate": f"{name}: majority of %{{x}}, %{{y:.1f}} %<extra></extra>",
    }  # fmt: skip


def _dots(name: str, index: int, scores: Mapping[str, Record]) -> Figure:
    found = _by_size("pass", scores)
    colour = f"var(--s{index % SERIES})"
    return {
        "type": "scatter", "mode": "lines", "name": f"{name}, any", "legendgroup": name, "showlegend": False,
        "x": list(found), "y": [100 * entry["value"] for entry in found.values()],
        "line": {"width": 1.5, "color": colour, "dash": "dot"},
        "hovertemplate": f"{name}: any of %{{x}}, %{{y:.1f}} %<extra></extra>",
    }  # fmt: skip


def _by_size(kind: str, scores: Mapping[str, Record]) -> dict[int, Record]:
    """The scores `kind@k` by k, in its order."""
    sized = {
        int(name.partition("@")[2]): entry for name, entry in scores.items() if name.startswith(f"{kind}@")
    }
    return dict(sorted(sized.items()))
