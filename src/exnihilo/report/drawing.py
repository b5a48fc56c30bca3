"""The lineage of a run as a drawing: its stages one below the other, and an arc from each parent to its child."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from exnihilo.report.run import StageFiles, parents

ROW, TOP, DOT = 40, 20, 5
TEXT = 340  # room for a stage's name and kind, right of the dots


def draw_lineage(stages: Sequence[StageFiles]) -> Markup:
    """An inline SVG of the stages in the order given; an arc is the wider, the more stages it passes."""
    row = {stage.name: i for i, stage in enumerate(stages)}
    edges = [
        (row[parent], row[stage.name])
        for stage in stages
        for parent in dict.fromkeys(parents(stage))
        if parent in row
    ]
    reach = max((_reach(start, end) for start, end in edges), default=0)
    left = reach * 3 // 4 + 2 * DOT  # a cubic curve comes within 3/4 of its control points
    return Markup(
        '<svg class="lineage" role="img" aria-label="Which stage was made from which" '
        'width="{0}" height="{1}" viewBox="0 0 {0} {1}">{2}{3}</svg>'
    ).format(
        left + TEXT,
        len(stages) * ROW,
        Markup().join(_arc(start, end, left) for start, end in edges),
        Markup().join(_stage(stage, i, left) for i, stage in enumerate(stages)),
    )


def _reach(start: int, end: int) -> int:
    """How far left the control points of an arc stand."""
    return 14 * abs(end - start) + 8


def _arc(start: int, end: int, x: int) -> Markup:
    y0, y1, bend = TOP + start * ROW, TOP + end * ROW, x - _reach(start, end)
    return Markup('<path d="M{} {}C{} {} {} {} {} {}"/>').format(x, y0, bend, y0, bend, y1, x, y1)


def _stage(stage: StageFiles, row: int, x: int) -> Markup:
    y = TOP + row * ROW
    return Markup(
        '<circle class="{}" cx="{}" cy="{}" r="{}"/><text x="{}" y="{}">{}'
        '<tspan class="sub" dx="8">{} by {}, {}</tspan></text>'
    ).format(
        *(stage.kind, x, y, DOT, x + 3 * DOT, y + DOT, stage.name),
        *(stage.kind, stage.verb, stage.manifest["content"][:8]),
    )
