"""Charts: valid plotly figures with the numbers they were given."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects
import pytest

from exnihilo.report.curves import POINTS, training_charts
from exnihilo.report.figures import bits_per_byte_chart, family_chart


def entry(value: float) -> dict[str, Any]:
    return {"value": value, "n": 70, "low": value - 0.1, "high": value + 0.1}


def check(figure: Any) -> None:
    """plotly takes the figure; the page's colour variables stand for black here."""

    def coloured(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: coloured(one) for key, one in value.items()}
        if isinstance(value, list):
            return [coloured(one) for one in value]
        return "#000000" if isinstance(value, str) and value.startswith("var(--") else value

    plotly.graph_objects.Figure(coloured(figure))


def titles(charts: list[Any]) -> list[str]:
    return [chart.title for chart in charts]


def test_known_numbers_share_charts_and_new_ones_get_their_own() -> None:
    metrics = [
        {"step": i, "tokens": 10 * i, "loss": 3.0 - i, "ema": 3.0, "lr": 0.1, "novelty": i / 7, "name": "x"}
        for i in range(3)
    ] + [{"step": 3, "tokens": 30, "validation_loss": 2.0}, {"step": 4, "tokens": 40, "validation_loss": 1.0}]
    learning, running = training_charts(metrics)
    assert titles(learning) == ["Loss"] and titles(running) == ["Learning rate", "Novelty"]
    assert [trace["name"] for trace in learning[0].figure["data"]] == [
        "training",
        "training, averaged",
        "validation",
    ]
    assert learning[0].figure["data"][2]["x"] == [30, 40] and learning[0].figure["data"][2]["y"] == [2.0, 1.0]
    for chart in learning + running:
        check(chart.figure)


def test_reinforcement_shows_reward_first_and_its_loss_among_the_rest() -> None:
    """Its rollouts are recorded without tokens, so that steps are the axis of every chart."""
    metrics: list[dict[str, Any]] = []
    for step in range(1, 4):
        metrics.append({"step": step, "reward": step / 4, "response_length": 9.0})
        metrics.append({"step": step, "tokens": 100 * step, "loss": 0.0, "kl": 0.1})
    learning, running = training_charts(metrics)
    assert titles(learning) == ["Reward", "KL to the reference", "Length of answers"]
    assert titles(running) == ["Policy loss"]
    assert learning[0].figure["data"][0]["x"] == [1, 2, 3] == learning[1].figure["data"][0]["x"]
    assert learning[0].figure["data"][0]["y"] == [0.25, 0.5, 0.75]
    assert learning[0].figure["data"][1]["y"] == [0.25, 0.375, 0.5]


def test_what_is_no_number_is_no_point() -> None:
    metrics = [{"step": i, "loss": value} for i, value in enumerate([float("nan"), float("inf"), None, True])]
    assert training_charts(metrics) == ([], [])
    metrics += [{"step": 4, "loss": 2.0}, {"step": 5, "loss": 1.0}]
    assert training_charts(metrics)[0][0].figure["data"][0]["x"] == [4, 5]


def test_a_long_curve_keeps_its_ends() -> None:
    metrics = [{"step": i, "loss": float(i)} for i in range(50_000)]
    x = training_charts(metrics)[0][0].figure["data"][0]["x"]
    assert len(x) == POINTS and x[0] == 0 and x[-1] == 49_999 and sorted(set(x)) == x


def test_intervals_reach_from_low_to_high() -> None:
    models = {"base": {"bits_per_byte": entry(1.5)}, "sft": {"bits_per_byte": entry(1.4)}, "other": {}}
    chart = bits_per_byte_chart(models, {"xz": 1.69})
    assert chart is not None
    check(chart.figure)
    first = chart.figure["data"][0]
    assert first["x"][0] - first["error_x"]["arrayminus"][0] == pytest.approx(1.4)
    assert first["x"][0] + first["error_x"]["array"][0] == pytest.approx(1.6)
    assert chart.figure["layout"]["shapes"][0]["x0"] == 1.69
    assert chart.figure["layout"]["yaxis"]["ticktext"] == ["base", "sft"]
    assert bits_per_byte_chart({"other": {}}, {"xz": 1.69}) is None


def test_families_stand_in_rows_and_models_beside_each_other() -> None:
    families = {"sft": {"sum": entry(0.5), "type": entry(0.6)}, "base": {"sum": entry(0.2)}}
    chart = family_chart(families, {"sum": {"value": 0.25}}, ["base", "sft"])
    assert chart is not None
    check(chart.figure)
    majority, base, sft = chart.figure["data"]
    assert majority["x"] == [25.0] and majority["y"] == [0]
    assert (base["name"], base["x"]) == ("base", [20.0]) and (sft["name"], sft["x"]) == ("sft", [50.0, 60.0])
    assert base["y"][0] < 0 < sft["y"][0] < 0.5
    assert base["marker"]["color"] == "var(--s0)" and sft["marker"]["color"] == "var(--s1)"
    assert family_chart({}, {}, []) is None
