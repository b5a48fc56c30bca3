"""The tree of what an artifact was made from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.build import build
from exnihilo.core.errors import Refused
from exnihilo.core.lineage import format_tree, lineage


@pytest.fixture
def run(tmp_path: Path, toys: Any) -> Path:
    run = tmp_path / "run"
    corpus = build(toys.collect, toys.collect.config(), {}, run / "corpus", seed=1).path
    for name, lr in (("base", 0.1), ("again", 0.2)):
        build(toys.train, toys.train.config(corpus="corpus", lr=lr), {"corpus": corpus}, run / name, seed=1)
    models = {"base": run / "base", "again": run / "again"}
    build(
        toys.evaluate, toys.evaluate.config(models=list(models)), {"models": models}, run / "scores", seed=1
    )
    return run


def test_each_line_has_stage_kind_verb_and_content(run: Path) -> None:
    tree = lineage(run / "scores")
    lines = format_tree(tree).splitlines()
    contents = {node.stage: node.content[:12] for node in [tree, *tree.parents, *tree.parents[0].parents]}
    assert lines == [
        f"scores (results, evaluate) {contents['scores']}",
        f"├─ base (model, train) {contents['base']}",
        f"│  └─ corpus (corpus, collect) {contents['corpus']}",
        f"└─ again (model, train) {contents['again']}",
        f"   └─ corpus (corpus, collect) {contents['corpus']}  (as above)",
    ]


def test_core_10_a_changed_parent_is_reported_as_stale(run: Path, toys: Any) -> None:
    build(toys.collect, toys.collect.config(text="other"), {}, run / "corpus", seed=1)
    lines = format_tree(lineage(run / "base")).splitlines()
    assert lines[0].startswith("base (model, train)") and "CHANGED" not in lines[0]
    assert lines[1].endswith("CHANGED since it was used here: the child is stale")


def test_core_10_a_missing_parent_is_shown_with_where_it_was(run: Path) -> None:
    shutil.rmtree(run / "corpus")
    node = lineage(run / "base").parents[0]
    assert (node.state, node.stage, node.kind) == ("missing", "corpus", "corpus")
    assert format_tree(node).endswith(f"MISSING: it was at {run / 'corpus'}")


def test_a_moved_run_keeps_its_lineage_and_a_users_file_is_a_leaf(
    run: Path, tmp_path: Path, toys: Any
) -> None:
    moved = run.rename(tmp_path / "elsewhere é")
    assert [node.state for node in lineage(moved / "scores").parents] == ["whole", "whole"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("x")
    built = build(
        toys.train, toys.train.config(corpus="x"), {"corpus": tmp_path / "mine"}, moved / "own", seed=1
    )
    (leaf,) = lineage(built.path).parents
    assert (leaf.stage, leaf.kind, leaf.verb, leaf.state, leaf.parents) == (
        "mine",
        "folder",
        None,
        "whole",
        [],
    )


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such artifact"):
        lineage(tmp_path / "none")
