"""The page of a comparison: what its first sentence says, and which folders it names."""

from __future__ import annotations

from typing import Any

import pytest

from exnihilo.lab.page import _last, _lead


def compared(*verdicts: str) -> dict[str, Any]:
    entries = [{"b": "adamw", "metric": f"m{n}", "verdict": verdict} for n, verdict in enumerate(verdicts)]
    return {"arms": [{"name": "muon"}, {"name": "adamw"}], "comparisons": entries}


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        (("worse", "open"), "adamw against muon: worse in 1 of 2 (m0)."),
        (("open", "other"), "adamw against muon: different in 1 of 2 (m1)."),
        (("better", "worse"), "adamw against muon: better in 1 of 2 (m0), worse in 1 of 2 (m1)."),
        (("open", "same"), "adamw and muon cannot be told apart in any of 2 metrics."),
    ],
)
def test_the_lead_names_all_that_differs(verdicts: tuple[str, ...], told: str) -> None:
    assert _lead(compared(*verdicts)) == told


def test_an_arms_own_runs_are_named_however_long_the_names_of_shared_stages_are() -> None:
    made = {
        "questions-of-a-very-long-name": "shared/questions-of-a-very-long-name",
        "base": "clip=1,seed=2/base",
    }
    assert _last({"artifacts": {"2": made}}) == ["clip=1,seed=2"]
