"""The experiment on over-optimisation as a table and as `report.html`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exnihilo.lab.gold_curve import FORMS, Fit
from exnihilo.lab.table import aligned
from exnihilo.report.figures import Chart, Figure, layout_of
from exnihilo.report.shell import Figures, fill
from exnihilo.report.words import signed

Record = Mapping[str, Any]
TITLES = {"best_of_n": "Best of n", "rl": "PPO"}
HEADS = ("seed", "α", "β", "R²", "turns at d", "gold there")
PEAKS = ("seed", "comparisons", "best of n: gold's peak", "at d", "PPO: gold's peak", "at d")
STOPS = ("seed", "goes back to step", "at d", "gold", "gold's peak", "at d", "kept", "gold at the end")


def table(result: Record) -> list[str]:
    """The fits of both curves, and where the stop lands."""
    lines = []
    for form, title in TITLES.items():
        lines += [f"{title}: gold gained = {FORMS[form]}", *aligned(_fits(result, form)), ""]
    return [
        *lines,
        "Gold's peaks by what the reward model learned from that is maximised",
        *aligned(_peaks(result)),
        "",
        "Early stop, by the second reward model, less a price for each nat",
        *aligned(_stops(result)),
        "",
        told(result),
    ]


def told(result: Record) -> str:
    """What came out, in a sentence."""
    kept, seeds = result["kept"], result["seeds"]
    fallen = sum(_fell(one["rl"]["stop"]) for one in seeds.values())
    stopped = sum(one["rl"]["stop"]["stopped"] for one in seeds.values())
    near = sum(share >= 0.9 for share in kept["by_seed"].values())
    return (
        f"PPO's gold reward rises and falls by a tenth or more in {fallen} of {len(seeds)} seeds; the stop fires in "
        f"{stopped}, and keeps at least 90 % of the gold peak in {near} (mean {kept['mean']:.0%}, least "
        f"{kept['least']:.0%})"
    )


def render(result: Record) -> str:
    """The page as HTML, self-contained."""
    figures = Figures()
    charts = [*(_chart(result, form) for form in TITLES), _qualities(result)]
    context = {
        "lead": told(result) + ".",
        "charts": figures.place(charts),
        "fits": [
            {"title": title, "form": FORMS[form], "rows": _fits(result, form)}
            for form, title in TITLES.items()
        ],
        "peaks": _peaks(result),
        "stops": _stops(result),
    }
    return fill("exnihilo.lab", "overoptimisation.html.jinja", context, figures)


def _fell(stop: Record) -> bool:
    """Whether gold ended at least a tenth below its peak."""
    return bool(stop["last"]["gold"] < 0.9 * stop["peak"]["gold"])


def _fits(result: Record, form: str) -> list[list[str]]:
    rows = [list(HEADS)]
    for seed, one in result["seeds"].items():
        found = Fit(**{key: value for key, value in one[form]["fit"].items() if key != "peak"})
        furthest = max(point["distance"] for point in one[form]["points"])
        # Beyond what was measured a turn is a guess, and of a nearly straight line an absurd one.
        peak = found.peak if found.peak is not None and found.peak <= furthest else None
        rows.append(
            [
                seed,
                *(signed(f"{value:.3f}") for value in (found.alpha, found.beta, found.r2)),
                f"not up to {furthest:.2f}" if peak is None else f"{peak:.2f}",
                "–" if peak is None else signed(f"{found.at([peak])[0]:+.2f}"),
            ]
        )
    return rows


def _peaks(result: Record) -> list[list[str]]:
    """The highest gold of each curve, for either reward model."""
    rows = [list(PEAKS)]
    for seed, one in result["seeds"].items():
        for which, pairs in ((one, result["size"]["pairs"]), (one["worse"], result["size"]["worse"])):
            row = [seed, f"{pairs:,}"]
            for form in TITLES:
                peak = max(which[form]["points"], key=lambda point: float(point["gold"]))
                row += [signed(f"{peak['gold']:+.2f}"), f"{peak['distance']:.2f}"]
            rows.append(row)
    return rows


def _stops(result: Record) -> list[list[str]]:
    rows = [list(STOPS)]
    for seed, one in result["seeds"].items():
        stop = one["rl"]["stop"]
        back, peak = stop["back_to"], stop["peak"]
        rows.append(
            [
                seed,
                str(back["step"]) if stop["stopped"] else "did not stop",
                f"{back['distance']:.2f}",
                signed(f"{back['gold']:+.2f}"),
                signed(f"{peak['gold']:+.2f}"),
                f"{peak['distance']:.2f}",
                signed(f"{stop['kept']:.0%}"),
                signed(f"{stop['last']['gold']:+.2f}"),
            ]
        )
    return rows


def _chart(result: Record, form: str) -> Chart:
    """Gold (solid, its fit dotted) and proxy (dashed) over √KL, a seed a colour; a ring where the stop goes back to."""
    data: list[Figure] = []
    for i, (seed, one) in enumerate(result["seeds"].items(), start=1):
        points, colour = one[form]["points"], f"var(--s{i % 8})"
        x = [point["distance"] for point in points]
        first = points[0]["proxy"]
        shared = {"type": "scatter", "legendgroup": seed, "x": x}
        data += [
            shared | {"mode": "lines+markers", "name": f"gold, seed {seed}", "y": [p["gold"] for p in points],
                      "marker": {"size": 5, "color": colour}, "line": {"width": 2, "color": colour}},
            shared | {"mode": "lines", "name": f"proxy, seed {seed}", "y": [p["proxy"] - first for p in points],
                      "line": {"width": 1.5, "color": colour, "dash": "dash"}},
            _fit_line(one[form]["fit"], max(x), colour),
        ]  # fmt: skip
        if form == "rl" and one[form]["stop"]["stopped"]:
            back = one[form]["stop"]["back_to"]
            data.append(
                {"type": "scatter", "mode": "markers", "name": f"stop, seed {seed}", "x": [back["distance"]],
                 "y": [back["gold"]], "marker": {"size": 15, "symbol": "circle-open", "color": colour,
                                                "line": {"width": 3}}}
            )  # fmt: skip
    note = "Solid: gold, with its fit dotted. Dashed: the proxy, which is maximised."
    return Chart(TITLES[form], {"data": data, "layout": _layout()}, note)


def _qualities(result: Record) -> Chart:
    """Gold over √KL by PPO, for the reward model (solid) and for the worse one (dashed), a seed a colour."""
    size = result["size"]
    data: list[Figure] = []
    for i, (seed, one) in enumerate(result["seeds"].items(), start=1):
        for which, pairs, dash in ((one, size["pairs"], "solid"), (one["worse"], size["worse"], "dash")):
            points = which["rl"]["points"]
            data.append(
                {"type": "scatter", "mode": "lines+markers", "legendgroup": seed,
                 "name": f"{pairs:,} comparisons, seed {seed}", "x": [p["distance"] for p in points],
                 "y": [p["gold"] for p in points], "marker": {"size": 5, "color": f"var(--s{i % 8})"},
                 "line": {"width": 2, "color": f"var(--s{i % 8})", "dash": dash}}
            )  # fmt: skip
    note = f"Gold. Solid: by a reward model of {size['pairs']:,} comparisons. Dashed: by one of {size['worse']:,}."
    return Chart("PPO, by what the reward model learned from", {"data": data, "layout": _layout()}, note)


def _layout() -> Figure:
    layout = layout_of(380)
    layout["xaxis"] |= {"title": {"text": "√KL to the first policy, √nats"}, "rangemode": "tozero"}
    layout["yaxis"] |= {"title": {"text": "reward gained, standard deviations", "standoff": 10}}
    layout["showlegend"] = True
    return layout


def _fit_line(fit: Record, end: float, colour: str) -> Figure:
    distances = [end * (i + 1) / 60 for i in range(60)]
    values = Fit(**{key: value for key, value in fit.items() if key != "peak"}).at(distances)
    return {
        "type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip", "x": distances, "y": values,
        "line": {"width": 1, "color": colour, "dash": "dot"},
    }  # fmt: skip
