"""Building: what is made, what is made again, and what is left alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import Artifact, content_hash
from exnihilo.core.build import build
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.keys import status
from exnihilo.core.stage import Stage


def run_all(run: Path, toys: Any, seed: int = 1, **changed: Any) -> dict[str, str]:
    """Build the toys' recipe in `run`, and say what each stage's state was before."""
    plan = {
        "corpus": (toys.collect, {"text": "abc"}, {}),
        "base": (toys.train, {"corpus": "corpus"}, {"corpus": run / "corpus"}),
        "again": (toys.train, {"corpus": "corpus", "lr": 0.5}, {"corpus": run / "corpus"}),
        "scores": (toys.evaluate, {"models": ["base"]}, {"models": {"base": run / "base"}}),
    }
    states = {}
    for name, (stage, values, inputs) in plan.items():
        over = {key.partition("_")[2]: value for key, value in changed.items() if key.startswith(f"{name}_")}
        config = stage.config(**{**values, **over})
        states[name] = status(stage, config, inputs, run / name, seed=seed).state
        build(stage, config, inputs, run / name, seed=seed)
    return states


def test_a_manifest_says_what_the_artifact_is_and_where_it_comes_from(tmp_path: Path, toys: Any) -> None:
    run = tmp_path / "my run é"
    run_all(run, toys)
    base = Artifact.open(run / "base", kind="model", verify=True)
    manifest = base.manifest
    assert {key: manifest[key] for key in ("schema", "kind", "stage", "do", "seed", "metrics", "lines")} == {
        "schema": 1,
        "kind": "model",
        "stage": "base",
        "do": "train",
        "seed": 1,
        "metrics": {"loss": pytest.approx(manifest["metrics"]["loss"])},
        "lines": ["trained 6 steps"],
    }
    corpus = Artifact.open(run / "corpus")
    assert manifest["inputs"] == [
        {
            "field": "corpus",
            "name": "corpus",
            "path": "../corpus",
            "kind": "corpus",
            "content": corpus.content,
        }
    ]
    assert manifest["config"] == {"corpus": "corpus", "lr": 0.02, "steps": 6, "die_at": None}
    assert manifest["provenance"] == corpus.manifest["provenance"] != []
    assert base.content == content_hash(base.path) == manifest["content"]
    assert set(manifest["files"]) == {"weights"}
    assert (
        manifest["code"]["version"] and manifest["libraries"]["pydantic"] and manifest["machine"]["cores"] > 0
    )
    text = (run / "base" / "manifest.json").read_text()
    assert str(tmp_path) not in text and os.uname().nodename not in json.dumps({**manifest, "machine": 0})
    assert not (run / "base" / "checkpoints").exists() and not (run / "base" / "partial.json").exists()
    assert [record["step"] for _, record in read_jsonl(run / "base" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_absolute_paths_in_a_config_are_kept_relative_so_that_a_run_can_be_moved(
    tmp_path: Path, toys: Any
) -> None:
    def make(root: Path) -> Artifact:
        (root / "texts").mkdir(parents=True)
        return build(
            toys.collect, toys.collect.config(text=str(root / "texts")), {}, root / "run" / "corpus", seed=1
        )

    here, there = make(tmp_path / "here"), make(tmp_path / "there")
    assert here.manifest["config"]["text"] == "../../texts"
    assert here.manifest["key"] == there.manifest["key"]
    assert str(tmp_path) not in (here.path / "manifest.json").read_text()


def test_core_11_one_changed_key_makes_exactly_the_dependents_stale(tmp_path: Path, toys: Any) -> None:
    missing, cached = "missing", "cached"
    assert run_all(tmp_path, toys) == dict.fromkeys(("corpus", "base", "again", "scores"), missing)
    assert run_all(tmp_path, toys) == dict.fromkeys(("corpus", "base", "again", "scores"), cached)
    stale = run_all(tmp_path, toys, base_steps=7)
    assert stale == {"corpus": cached, "base": "stale", "again": cached, "scores": "stale"}
    stale = run_all(tmp_path, toys, base_steps=7, corpus_text="abcd")
    assert stale == {"corpus": "stale", "base": "stale", "again": "stale", "scores": "stale"}
    stale = run_all(tmp_path, toys, base_steps=7, corpus_text="abcd", scores_note="x")
    assert stale == {"corpus": cached, "base": cached, "again": cached, "scores": "stale"}


def test_core_11_a_parent_that_comes_out_the_same_leaves_its_children_alone(
    tmp_path: Path, toys: Any
) -> None:
    run_all(tmp_path, toys)
    made = (tmp_path / "base" / "manifest.json").stat().st_mtime_ns
    # Another key, the same bytes: 6 times "ab" thrice is "ababab".
    build(
        toys.collect,
        toys.collect.config(text="abc", log_every=3),
        {},
        tmp_path / "corpus",
        seed=1,
        force=True,
    )
    assert set(run_all(tmp_path, toys).values()) == {"cached"}
    assert (tmp_path / "base" / "manifest.json").stat().st_mtime_ns == made


def test_core_11_cosmetic_keys_are_not_in_the_key_and_code_is_not(
    tmp_path: Path, toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(tmp_path, toys)
    monkeypatch.setattr(
        "exnihilo.core.provenance.code", lambda: {"version": "9", "commit": "x", "dirty": True}
    )
    assert set(run_all(tmp_path, toys, corpus_log_every=99).values()) == {"cached"}
    assert run_all(tmp_path, toys, seed=2)["corpus"] == "stale"


def test_core_11_status_lists_what_differs(tmp_path: Path, toys: Any) -> None:
    run_all(tmp_path, toys)
    config = toys.train.config(corpus="corpus", lr=0.5, steps=9)
    found = status(toys.train, config, {"corpus": tmp_path / "corpus"}, tmp_path / "base", seed=3)
    assert (found.state, found.reasons) == ("stale", ["lr 0.02 -> 0.5", "steps 6 -> 9", "seed 1 -> 3"])
    config = toys.evaluate.config(models=["base", "again"])
    inputs = {"models": {"base": tmp_path / "base", "again": tmp_path / "again"}}
    assert status(toys.evaluate, config, inputs, tmp_path / "scores", seed=1).reasons == [
        "input models changed"
    ]


def test_the_order_and_names_of_a_lists_artifacts_count(tmp_path: Path, toys: Any) -> None:
    run_all(tmp_path, toys)
    base, again = tmp_path / "base", tmp_path / "again"
    config = toys.evaluate.config(models=["a", "b"])
    keys = {
        status(toys.evaluate, config, {"models": models}, tmp_path / "none", seed=1).key
        for models in ({"a": base, "b": again}, {"b": again, "a": base}, {"a": base, "c": again})
    }
    assert len(keys) == 3


def test_state_outside_of_artifacts_can_enter_the_key(tmp_path: Path, toys: Any) -> None:
    outside = tmp_path / "texts"
    outside.mkdir()
    (outside / "a.txt").write_text("one")
    base = toys.collect
    stage = Stage(
        base.verb, base.kind, base.config, base.run, base.doc, external=lambda _: content_hash(outside)
    )
    build(stage, stage.config(), {}, tmp_path / "run" / "corpus", seed=1)
    assert status(stage, stage.config(), {}, tmp_path / "run" / "corpus", seed=1).state == "cached"
    (outside / "a.txt").write_text("two")
    found = status(stage, stage.config(), {}, tmp_path / "run" / "corpus", seed=1)
    assert (found.state, found.reasons) == ("stale", ["what it reads from outside changed"])


def test_core_10_two_runs_side_by_side_do_not_meet_and_a_run_can_be_moved(tmp_path: Path, toys: Any) -> None:
    run_all(tmp_path / "a", toys)
    run_all(tmp_path / "b", toys, corpus_text="xyz!")
    contents = [Artifact.open(tmp_path / run / "base").content for run in ("a", "b")]
    assert contents[0] != contents[1]
    shutil.copytree(tmp_path / "a", tmp_path / "c" / "moved")
    assert set(run_all(tmp_path / "c" / "moved", toys).values()) == {"cached"}


def test_core_10_an_input_of_another_kind_or_a_missing_one_is_refused(tmp_path: Path, toys: Any) -> None:
    run_all(tmp_path, toys)
    config = toys.train.config(corpus="base")
    with pytest.raises(Refused, match="base: an artifact of kind model; corpus is wanted here"):
        build(toys.train, config, {"corpus": tmp_path / "base"}, tmp_path / "x", seed=1)
    with pytest.raises(Refused, match="nowhere: no such artifact"):
        build(toys.train, config, {"corpus": tmp_path / "nowhere"}, tmp_path / "x", seed=1)
    assert not (tmp_path / "x.partial").exists()


def test_a_plain_file_or_folder_can_be_an_input_and_is_hashed(tmp_path: Path, toys: Any) -> None:
    (tmp_path / "mine" / "train").mkdir(parents=True)
    (tmp_path / "mine" / "train" / "a.txt").write_text("hello")
    config, inputs = toys.train.config(corpus="./mine"), {"corpus": tmp_path / "mine"}
    built = build(toys.train, config, inputs, tmp_path / "run" / "base", seed=1)
    record = built.manifest["inputs"][0]
    assert (record["kind"], record["path"]) == ("folder", "../../mine")
    (tmp_path / "mine" / "train" / "a.txt").write_text("world")
    assert status(toys.train, config, inputs, tmp_path / "run" / "base", seed=1).reasons == [
        "input corpus changed"
    ]


def test_what_is_replaced_is_kept(tmp_path: Path, toys: Any) -> None:
    for text in ("a", "b", "c"):
        build(toys.collect, toys.collect.config(text=text), {}, tmp_path / "corpus", seed=1)
    kept = [Artifact.open(tmp_path / ".replaced" / f"corpus-{n}", verify=True) for n in (1, 2)]
    assert [one.manifest["config"]["text"] for one in kept] == ["a", "b"]


def test_a_damaged_artifact_is_stale_and_a_folder_that_is_none_is_left_alone(
    tmp_path: Path, toys: Any
) -> None:
    run_all(tmp_path, toys)
    (tmp_path / "corpus" / "train" / "1.txt").unlink()
    found = status(toys.collect, toys.collect.config(text="abc"), {}, tmp_path / "corpus", seed=1)
    assert found.state == "stale" and "1.txt: missing from its artifact" in found.reasons[0]
    assert run_all(tmp_path, toys)["base"] == "cached"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(Refused, match="mine: not an artifact"):
        build(toys.collect, toys.collect.config(), {}, tmp_path / "mine", seed=1)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_failing_stage_leaves_the_old_artifact_and_its_folder(tmp_path: Path, toys: Any) -> None:
    old = build(toys.collect, toys.collect.config(), {}, tmp_path / "corpus", seed=1)

    def fails(config: Any, inputs: Any, work: Any) -> None:
        (work.path / "half").write_text("x")
        raise ZeroDivisionError

    stage = Stage("collect", "corpus", toys.collect.config, fails, "")
    with pytest.raises(ZeroDivisionError):
        build(stage, stage.config(text="other"), {}, tmp_path / "corpus", seed=1)
    assert Artifact.open(tmp_path / "corpus", verify=True).content == old.content
    assert (tmp_path / "corpus.partial" / "half").exists()
