"""What the report shows of a run's inside: advice, norms, the profile, losses by source."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects

from exnihilo.core.jsonl import write_jsonl
from exnihilo.report.curves import training_charts
from exnihilo.report.inside import COLUMNS, advice, norm_charts, profile_table
from exnihilo.report.report import write_report


def check(figure: Any) -> None:
    """plotly takes the figure; the page's colour variables stand for black here."""
    text = json.dumps(figure)
    for name in ("--wash", "--s1", "--s2", "--s0", "--s3"):
        text = text.replace(f"var({name})", "#000000")
    plotly.graph_objects.Figure(json.loads(text))


def norms(step: int) -> dict[str, Any]:
    names = ("embedding.weight", "blocks.0.out.weight")
    return {
        "step": step,
        "weight": dict(zip(names, (10.0, 0.0), strict=True)),
        "gradient": dict(zip(names, (0.1, 1.0), strict=True)),
        "update_ratio": dict(zip(names, (0.001, None), strict=True)),
    }


def test_norms_are_heatmaps_of_logarithms_with_gaps_for_zero(tmp_path: Path) -> None:
    assert norm_charts(tmp_path) == []
    write_jsonl(tmp_path / "norms.jsonl", [norms(step) for step in (1, 10, 20)])
    ratio, gradient, weight = norm_charts(tmp_path)
    for chart in (ratio, gradient, weight):
        check(chart.figure)
        (trace,) = chart.figure["data"]
        assert trace["x"] == [1, 10, 20] and trace["y"] == ["embedding.weight", "blocks.0.out.weight"]
    assert ratio.figure["data"][0]["z"] == [[-3.0] * 3, [None] * 3]
    assert ratio.figure["data"][0]["customdata"][0] == [0.001] * 3
    assert weight.figure["data"][0]["z"][1] == [None] * 3 and gradient.figure["data"][0]["z"][0] == [-1.0] * 3
    assert "log" in ratio.note


def test_a_long_run_s_heatmap_keeps_its_ends(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "norms.jsonl", [norms(step) for step in range(1, 2001)])
    x = norm_charts(tmp_path)[0].figure["data"][0]["x"]
    assert len(x) == COLUMNS and (x[0], x[-1]) == (1, 2000)


def test_the_profile_is_a_table_with_a_summary(tmp_path: Path) -> None:
    assert profile_table(tmp_path) is None
    products = {"seconds": 0.06, "share": 0.6, "flops": 6e9, "flops_per_second": 1e11, "of_peak": 0.5}
    operation = {"name": "aten::mm", "calls": 1234, "seconds": 0.06, "share": 0.6}
    found = {"step": 3, "seconds": 0.1, "products": products, "operations": [operation]}
    (tmp_path / "profile.json").write_text(json.dumps(found))
    table = profile_table(tmp_path)
    assert table is not None
    assert "60 % of it" in table["summary"] and "50 % of the peak" in table["summary"]
    assert table["rows"] == [{"name": "aten::mm", "calls": "1,234", "time": "60.00 ms", "share": "60.0 %"}]


def test_advice_is_what_was_recorded(tmp_path: Path) -> None:
    assert advice(tmp_path) == []
    write_jsonl(tmp_path / "advice.jsonl", [{"step": 40, "rule": "overfitting", "text": "stop"}])
    assert advice(tmp_path) == [{"step": 40, "rule": "overfitting", "text": "stop"}]


def test_losses_by_source_share_a_chart_in_colours_of_their_own() -> None:
    metrics: list[dict[str, Any]] = []
    for i in range(3):
        line = {"step": i, "tokens": 10 * i, "loss": 3.0 - i, "ema": 3.0}
        metrics.append(
            line | {"loss/code": 2.0 - i, "loss/prose": 4.0 - i, "share/code": 0.25, "share/prose": 0.75}
        )
        metrics.append({"step": i, "tokens": 10 * i, "validation_loss": 3.0, "validation_loss/code": 2.5})
    learning, running = training_charts(metrics)
    titles = [chart.title for chart in learning]
    assert titles == ["Loss", "Training loss by source, since the line before", "Validation loss by source"]
    assert [chart.title for chart in running] == ["Share of the trained tokens by source"]
    code, prose = learning[1].figure["data"]
    assert (code["name"], prose["name"]) == ("code", "prose") and prose["y"] == [4.0, 3.0, 2.0]
    assert code["line"]["color"] != prose["line"]["color"]
    for chart in learning + running:
        check(chart.figure)


def test_the_page_shows_all_of_it_as_text(part_of_run: Callable[..., Path]) -> None:
    run = part_of_run("base")
    plain = write_report(run).read_text(encoding="utf-8")
    assert 'class="advice"' not in plain and "heatmap" not in plain.split("<script>")[0]
    hostile = "poems are read <b>5</b> times"
    write_jsonl(run / "base/advice.jsonl", [{"step": 40, "rule": "many_epochs", "text": hostile}])
    write_jsonl(run / "base/norms.jsonl", [norms(step) for step in (1, 10)])
    products = {"seconds": 0.06, "share": 0.6, "flops": 6e9, "flops_per_second": 1e11, "of_peak": None}
    operation = {"name": "aten::mm", "calls": 7, "seconds": 0.06, "share": 0.6}
    found = {"step": 3, "seconds": 0.1, "products": products, "operations": [operation]}
    (run / "base/profile.json").write_text(json.dumps(found))
    page = write_report(run).read_text(encoding="utf-8")
    assert "<b>Step 40:</b> " + html.escape(hostile) in page and hostile not in page
    assert page.count('"type": "heatmap"') == 3 and "Size of an update against the weights" in page
    assert "aten::mm</th>" in page and "60 % of it" in page
