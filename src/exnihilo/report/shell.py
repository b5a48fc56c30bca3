"""The frame of every page: one self-contained file with its style, script and figures, which asks nothing of the
network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader

from exnihilo import __version__
from exnihilo.report.figures import Chart, Figure


@dataclass(frozen=True)
class Placed:
    """A chart and its number among the page's figures."""

    index: int
    chart: Chart


class Figures:
    """The page's figures, numbered as they are placed."""

    def __init__(self) -> None:
        self.all: list[Figure] = []

    def place(self, charts: list[Chart]) -> list[Placed]:
        placed = []
        for chart in charts:
            placed.append(Placed(len(self.all), chart))
            self.all.append(chart.figure)
        return placed


def fill(package: str, template: str, context: Mapping[str, Any], figures: Figures) -> str:
    """A page as HTML, its text escaped, from a template in `page/` of a package that extends shell.html.jinja.

    A `context` without `samples` has no slider of samples.
    """
    loaders = [PackageLoader(one, "page") for one in dict.fromkeys((package, "exnihilo.report"))]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    shared = {
        "version": __version__,
        "samples": [],
        **context,
        "figures": figures.all,
        "plotly": _plotly() if figures.all else "",
        "style": _own("style.css"),
        "script": _own("page.js"),
    }
    return environment.get_template(template).render(shared)


def _own(name: str) -> str:
    return (files("exnihilo.report") / "page" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
