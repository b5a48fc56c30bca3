"""`report.html` of a run: one self-contained file, made from the run's artifacts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exnihilo.core.files import write_atomic
from exnihilo.report.page import render
from exnihilo.report.run import read_run
from exnihilo.report.scores import read_results, stage_scores

REPORT = "report.html"


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder and return its path.

    Finished stages are shown; a run without training or evaluation gets a page without those sections.
    Raises Refused where no stage is finished, and where a file of the run cannot be read.
    """
    path = run / REPORT
    write_atomic(path, render(read_run(run)))
    return path


def stage_table(run: Path) -> dict[str, Any]:
    """`{"stages": {NAME: {METRIC: {"value", "n", "low", "high"}}}}` of every evaluated model of a run.

    Metrics are those of `results.json`, among them `accuracy` (the mean over families) and `bits_per_byte`,
    and `accuracy/<family>`. Raises as `write_report` does.
    """
    return {"stages": stage_scores(read_results(read_run(run)))}
