"""Who shares what: of the shipped recipe `smoke`, without running it."""

from __future__ import annotations

from pathlib import Path

from tiny_comparison import question

from exnihilo.core.artifact import read_manifest
from exnihilo.lab.arms import short_keys
from exnihilo.lab.layout import Layout, affecting, file_name, lay_out, seeded_stages, signatures
from exnihilo.lab.question import Question

DATA = ["library", "corpus", "tokenizer", "tokens", "questions"]
TRAINED = ["base", "sft", "longer", "aligned", "scores"]


def laid_out(asked: Question) -> Layout:
    return lay_out(asked.arms, asked.seeds, Path("/lab"), short_keys(list(asked.vary)))


def stages(layout: Layout) -> dict[str, list[str]]:
    return {part.name: list(part.recipe.stages) for part in layout.parts}


def test_data_is_made_once_and_models_for_every_arm_and_seed() -> None:
    layout = laid_out(question("smoke", "base.optimizer.name=muon,adamw", seeds=2))
    assert stages(layout) == {
        "shared": DATA,
        "name=muon,seed=1": TRAINED,
        "name=adamw,seed=1": TRAINED,
        "name=muon,seed=2": TRAINED,
        "name=adamw,seed=2": TRAINED,
    }


def test_what_a_key_does_not_touch_the_arms_share_seed_by_seed() -> None:
    layout = laid_out(question("smoke", "aligned.beta=0.02,0.1", seeds=2))
    assert stages(layout) == {
        "shared": DATA,
        "seed=1": ["base", "sft", "longer"],
        "beta=0.02,seed=1": ["aligned", "scores"],
        "beta=0.1,seed=1": ["aligned", "scores"],
        "seed=2": ["base", "sft", "longer"],
        "beta=0.02,seed=2": ["aligned", "scores"],
        "beta=0.1,seed=2": ["aligned", "scores"],
    }


def test_data_that_a_key_changes_is_made_once_an_arm() -> None:
    layout = laid_out(question("smoke", "tokenizer.vocabulary=400,512", seeds=2))
    found = stages(layout)
    assert found["shared"] == ["library", "corpus", "questions"]
    assert found["vocabulary=400"] == found["vocabulary=512"] == ["tokenizer", "tokens"]
    assert found["vocabulary=512,seed=2"] == TRAINED


def test_in_a_grid_arms_share_what_only_one_key_changes() -> None:
    asked = question("smoke", "base.clip=1,null", "aligned.beta=0.02,0.1", seeds=1)
    found = stages(laid_out(asked))
    assert found["clip=1,seed=1"] == found["clip=null,seed=1"] == ["base", "sft", "longer"]
    assert found["clip=null,beta=0.1,seed=1"] == ["aligned", "scores"]
    assert len(found) == 1 + 2 + 4
    keys = affecting(asked.arms)
    assert (keys["corpus"], keys["sft"], keys["scores"]) == ([], ["base.clip"], ["base.clip", "aligned.beta"])


def test_a_part_reads_other_parts_by_path_and_comes_after_them() -> None:
    asked = question("smoke", "aligned.beta=0.02,0.1", seeds=2)
    layout = laid_out(asked)
    made: set[Path] = set()
    for part in layout.parts:
        for name, planned in part.recipe.stages.items():
            inputs = planned.inputs(Path("/lab") / part.name)
            for given in inputs.values():
                assert set(given.values() if isinstance(given, dict) else [given]) <= made
            made.add(Path("/lab") / part.name / name)
    aligned = next(part for part in layout.parts if part.name == "beta=0.1,seed=2").recipe.stages["aligned"]
    assert aligned.inputs(Path("/lab/beta=0.1,seed=2")) == {
        "model": Path("/lab/seed=2/sft"),
        "examples": Path("/lab/shared/questions"),
    }
    scores = layout.parts[-1].recipe.stages["scores"].inputs(Path("/lab/beta=0.1,seed=2"))
    models = scores["models"]
    assert isinstance(models, dict) and list(models) == ["base", "sft", "longer", "aligned"]
    assert models["aligned"].parent.name == "beta=0.1,seed=2" and models["base"].parent.name == "seed=2"


def test_seeds_are_those_of_training() -> None:
    recipe = question("smoke", "base.clip=1,null").arms[0].recipe
    assert seeded_stages(recipe) == set(TRAINED)
    one, two = signatures(recipe, 1), signatures(recipe, 2)
    assert {name for name in one if one[name] != two[name]} == set(TRAINED)


def test_equal_signatures_are_equal_artifacts(compared: tuple[Question, Path, dict[str, object]]) -> None:
    """Of the artifacts made: a stage has one folder, and folders with other signatures hold something else."""
    asked, folder, _ = compared
    layout = lay_out(asked.arms, asked.seeds, folder, short_keys(list(asked.vary)))
    signed = {
        (signatures(arm.recipe, seed)[stage], layout.places[arm.name, seed, stage])
        for arm in asked.arms
        for seed in asked.seeds
        for stage in arm.recipe.stages
    }
    assert len({signature for signature, _ in signed}) == len({place for _, place in signed}) == len(signed)
    keys = {read_manifest(place)["key"] for _, place in signed}
    assert len(keys) == len(signed) == 4 + 2 * 2 * 2


def test_any_value_makes_a_folder() -> None:
    assert file_name("0.01") == "0.01" and file_name("1e-2") == "1e-2"
    names = {file_name(text) for text in ("../a/b", "a b", "a_b", "", "..", "é" * 300, '{"kind": "wsd"}')}
    assert len(names) == 7 and all("/" not in name and len(name.encode()) < 120 for name in names)
    assert ".." not in names
