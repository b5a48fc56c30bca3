"""The recipe `reasoner`, as small as it can be: every stage is wired, and its scores are by length and by votes."""

from __future__ import annotations

import json
from pathlib import Path

from exnihilo.cli.main import main
from exnihilo.core.artifact import read_manifest

SMALL = {
    "problems": {"demonstrations": 40, "validation": 4, "prompts": 30, "held_out": 3},
    "texts": {"documents": 200},
    "tokenizer": {"vocabulary": 400},
    "base": {"model.depth": 2, "model.width": 32, "model.heads": 1, "model.hidden": 64, "steps": 6},
    "sft": {"steps": 6},
    "aligned": {"steps": 2, "prompts": 4, "group": 4, "max_new": 12},
    "longer": {"steps": 2},
    "scores": {"max_new": 12},
    "votes": {"max_new": 12, "samples": 4, "limit": 15},
}


def test_problems_become_a_model_whose_scores_are_by_length_and_by_votes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = [
        word
        for stage, keys in SMALL.items()
        for key, value in keys.items()
        for word in (f"--{stage}.{key}", str(value))
    ]
    assert main(["run", "reasoner", *flags, "--run", str(run)]) == 0
    scores = json.loads((run / "scores" / "results.json").read_text())
    lengths = {f"steps-{n}" for n in range(1, 6)}
    assert set(scores["families"]["aligned"]) == lengths
    told = {one["what"] for one in scores["paired"] if (one["a"], one["b"]) == ("aligned", "sft")}
    assert {"accuracy/trained", *(f"accuracy/{length}" for length in lengths)} <= told
    assert {("aligned", "sft"), ("aligned", "longer")} <= {(one["a"], one["b"]) for one in scores["paired"]}
    votes = json.loads((run / "votes" / "results.json").read_text())
    assert {"majority@1", "majority@4"} <= set(votes["models"]["aligned"])
    assert "trained" in votes["votes"]["aligned"]
    # Alignment and its control start from one checkpoint.
    starts = [
        next(one["content"] for one in read_manifest(run / name)["inputs"] if one["name"] == "sft")
        for name in ("aligned", "longer")
    ]
    assert starts[0] == starts[1]
    assert "Votes of aligned, by family" in (run / "report.html").read_text()
