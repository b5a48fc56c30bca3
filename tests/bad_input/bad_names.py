"""Recipes, runs, models and artifacts that are not there."""

from __future__ import annotations

from pathlib import Path

from bad_case import Case

RECIPES = "adapt, instructgpt, llama2, own-text, quickstart, reasoner, smoke, zephyr"

CASES = [
    Case(
        "A misspelt recipe",
        "run quikstart",
        2,
        "error: quikstart: neither a shipped recipe nor a file; did you mean quickstart?",
    ),
    Case(
        "A recipe file that is not there",
        "run mine.yaml",
        2,
        f"error: mine.yaml: no such file; give a recipe in YAML or one of: {RECIPES}",
    ),
    Case(
        "A folder without a recipe",
        "run texts",
        2,
        f"error: texts/recipe.yaml: no such file; give a recipe in YAML or one of: {RECIPES}",
    ),
    Case(
        "A run that is not there",
        "report runs/none",
        3,
        "error: runs/none: no such folder; give the folder of a run, such as runs/quickstart",
        process=True,
    ),
    Case(
        "A folder that is no run",
        "report texts",
        3,
        "error: texts: no finished stage here; give the folder of a run, such as runs/quickstart",
    ),
    Case(
        "An artifact where a run goes",
        "report runs/good/base",
        3,
        "error: runs/good/base: this is one artifact; a report is about a run: try runs/good",
    ),
    Case(
        "A run with nothing finished",
        "report runs/new",
        3,
        "error: runs/new: no finished stage here; give the folder of a run, such as runs/quickstart",
        make=lambda: Path("runs/new").mkdir(),
    ),
    Case(
        "A run that is not there, to be cleaned",
        "clean runs/none",
        3,
        "error: runs/none: no such folder; give the folder of a run, such as runs/quickstart",
    ),
    Case(
        "A model that is not there",
        "chat runs/good/sft",
        3,
        (
            "error: runs/good/sft: no such folder; give the folder of a model or of a run, such as "
            "runs/quickstart"
        ),
    ),
    Case(
        "A run without a model",
        "chat runs/new",
        3,
        "error: runs/new: no finished model here; give the folder of a model or of a run that has one",
        make=lambda: Path("runs/new").mkdir(),
    ),
    Case(
        "A corpus where a model goes",
        "chat runs/good/corpus",
        3,
        "error: runs/good/corpus: an artifact of kind corpus; give a model or a run",
    ),
    Case(
        "An artifact that is not there",
        "lineage runs/good/sft",
        3,
        "error: runs/good/sft: no such artifact; check the path or run the stage that makes it",
    ),
    Case(
        "A folder that is no artifact",
        "lineage texts",
        3,
        "error: texts: not an artifact (it has no manifest.json); give the folder of one",
    ),
    Case(
        "A tokenizer that is not there",
        "tokenizer stats none --text texts",
        3,
        "error: none/tokenizer.json: No such file or directory; give the folder of a tokenizer or a model",
    ),
    Case(
        "Text that is not there",
        "tokenizer stats runs/good/tokenizer --text none",
        2,
        "error: none: no such file or folder; give the path of a file, a folder or a glob",
    ),
    Case(
        "Nothing to continue",
        "run good.yaml --resume must",
        3,
        "error: runs/good: no stage is under way; run it without --resume must",
    ),
    Case(
        "A checkpoint that is not there",
        "pretrain --tokens runs/good/tokens --resume none",
        2,
        "error: --resume: none: allowed: auto | never | must | the path of a checkpoint",
    ),
]
