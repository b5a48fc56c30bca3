"""The good world in which each bad input is met: texts, conversations, questions, and a run over them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from bad_case import rows, said

RECIPE = """\
stages:
  texts: {do: collect, from: {path: ./texts}}
  corpus: {do: curate, corpus: texts, held_out: 0.2, near_duplicate: null, yardstick: false}
  tokenizer: {do: tokenizer, corpus: corpus, vocabulary: 280}
  tokens: {do: tokenize, corpus: corpus, tokenizer: tokenizer}
  base:
    do: pretrain
    tokens: tokens
    model: {depth: 1, width: 16, heads: 1, head_dim: 16, hidden: 16, max_length: 64}
    steps: 2
    rows: 2
    length: 32
    validation_rows: 1
    sample_prompts: []
  scores: {do: evaluate, models: [base], corpus: corpus}
"""
RECORDS = {"log.txt", "events.jsonl", "run.json", "recipe.yaml", ".lock"}
"""What a command may write anew even where it fails: the records of a run, which belong to no artifact."""


def question(number: int, **changes: object) -> dict[str, object]:
    """A question with its verifier, as a row of prompts.jsonl and held_out.jsonl."""
    row = {
        "id": f"sum-{number}",
        "family": "sum",
        "messages": [{"role": "user", "content": f"{number}+1?"}],
        "answer": str(number + 1),
        "verifier": {"kind": "code", "value": str(number + 1)},
    }
    return {key: value for key, value in (row | changes).items() if value is not None}


def build(folder: Path) -> None:
    """Make the world in the working directory `folder`, its artifacts by the command line."""
    from exnihilo.cli.main import main

    (folder / "texts").mkdir()
    for number in range(20):
        text = f"Poem {number}. " + "A line to read, and one to learn by heart. " * 8
        (folder / "texts" / f"{number:02}.txt").write_text(text)
    (folder / "chats.jsonl").write_text(rows(*(said(f"{n}+1?", f"{n + 1}") for n in range(6))))
    (folder / "questions").mkdir()
    asked = rows(*map(question, range(6)))
    for name in ("prompts", "held_out"):
        (folder / "questions" / f"{name}.jsonl").write_text(asked)
    (folder / "questions" / "train.jsonl").write_text(rows(*(said(f"{n}+1?", f"{n + 1}") for n in range(6))))
    (folder / "good.yaml").write_text(RECIPE)
    assert main(["run", "good.yaml"]) == 0
    # A model as others publish it: without a manifest.
    shutil.copytree(folder / "runs" / "good" / "base", folder / "model")
    for name in ("manifest.json", "metrics.jsonl", "README.md"):
        (folder / "model" / name).unlink()


def state(folder: Path) -> dict[str, str]:
    """{path: hash} of every file that must outlive a failure as it is."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and os.access(path, os.R_OK) and path.name not in RECORDS
    }


def manifest(name: str) -> dict[str, object]:
    """The manifest of an artifact of the run."""
    found: dict[str, object] = json.loads(Path(f"runs/good/{name}/manifest.json").read_text())
    return found
