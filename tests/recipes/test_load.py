"""Recipes are checked whole before any work: keys, kinds, references, order, precedence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.recipes.load import load, shipped
from exnihilo.recipes.run import run


def write(text: str) -> str:
    Path("r.yaml").write_text(text, encoding="utf-8")
    return "r.yaml"


def problems(text: str, **more: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(write(text), environ={}, **more)  # type: ignore[arg-type]
    return caught.value.problems


def test_stages_may_stand_in_any_order(recipe: Path) -> None:
    assert list(load(recipe).stages) == ["text", "pieces", "base", "more", "scores"]


def test_every_shipped_recipe_is_valid() -> None:
    for name in shipped():
        given = {"adapt": {"base": {"hub": "someone/base"}, "data": {"examples": __file__}}}
        read = load(name, flags=given.get(name), environ={})
        assert read.name == name and read.description


def test_core_1_unknown_keys_at_every_level_are_all_told_with_file_path_and_nearest_name() -> None:
    found = problems(
        "stages:\n"
        "  text: {do: gather, txet: a}\n"
        "  pieces: {do: cutt}\n"
        "  base: {do: grow, tokens: pieces, stpes: 3, optim: {l: 1}}\n"
        "  other: {steps: 3}\n",
        flags={"base": {"stps": "3"}, "bse": {"steps": "3"}},
    )
    assert "r.yaml: text.txet: unknown key; did you mean text.text?" in found
    assert "r.yaml: pieces.do: unknown verb 'cutt'; did you mean cut?" in found
    assert "r.yaml: base.stpes: unknown key; did you mean base.steps?" in found
    assert "--base.stps: unknown key; did you mean --base.steps?" in found
    assert "r.yaml: base.optim.l: unknown key; did you mean base.optim.lr?" in found
    assert "--bse: no option, and no stage of r.yaml; did you mean --base?" in found
    assert any(line.startswith("r.yaml: other.do: required; allowed: ") for line in found)
    assert problems("sed: 3\nstages: {text: {do: gather}}\n") == (
        "r.yaml: sed: unknown key; did you mean seed?",
    )


def test_kind_mismatch_names_both_kinds_and_the_stages_that_would_do() -> None:
    text = (
        "stages:\n  text: {do: gather}\n  pieces: {do: cut, corpus: text}\n  base: {do: grow, tokens: text}\n"
    )
    assert problems(text) == (
        "r.yaml: base.tokens: wants kind tokens, and text is of kind corpus (do: gather);"
        " stages of kind tokens: pieces",
    )


def test_reference_to_nothing_suggests_a_stage_of_the_right_kind() -> None:
    text = "stages: {text: {do: gather}, texts: {do: cut, corpus: text}, base: {do: grow, tokens: txts}}"
    assert problems(text) == (
        "r.yaml: base.tokens: txts: no stage of this recipe and no such path; did you mean texts?",
    )


def test_cycle_is_shown() -> None:
    (problem,) = problems(
        "stages:\n  text: {do: gather}\n  pieces: {do: cut, corpus: text}\n"
        "  a: {do: grow, tokens: pieces, parent: b}\n  b: {do: grow, tokens: pieces, parent: a}\n"
    )
    assert "a -> b -> a" in problem or "b -> a -> b" in problem


def test_names_that_cannot_be_folders_and_flags_are_refused() -> None:
    for name in ("'../x'", "a b", "a.b", "-a", "'1'"):
        assert "cannot name a stage" in problems(f"stages: {{{name}: {{do: gather}}}}")[0]
    load(write("stages: {texte_é-2: {do: gather}}"))


def test_core_2_bad_files_are_one_line_with_what_to_do() -> None:
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    Path("broken.yaml").write_text("stages: {a: [}\n")
    Path("list.yaml").write_text("- a\n")
    for name in ("missing.yaml", "quickstrat", "binary.yaml", "broken.yaml", "list.yaml"):
        with pytest.raises(ConfigError) as caught:
            load(name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    assert problems("stages: {text: {do: gather, text: no}}")[0].endswith("quote it)")
    assert problems("stages: {text: 3}") == ("r.yaml: text: got 3; allowed: a mapping with do: VERB",)
    assert problems("seed: -1\nstages: {text: {do: gather}}")[0].startswith("r.yaml: seed: got -1")
    assert problems("stages: {text: {do: gather}}", seed=-1) == ("--seed: got -1; allowed: int ≥ 0",)


def test_core_4_flag_beats_file_beats_environment_beats_default() -> None:
    name = write("stages: {text: {do: gather, text: file}, bare: {do: gather}}")
    environ = {"EXNIHILO_TEXT__TEXT": "environment", "EXNIHILO_BARE__TEXT": "environment"}

    def text_of(stage: str, **more: object) -> str:
        return str(load(name, **more).stages[stage].config.text)  # type: ignore

    assert text_of("bare", environ={}) == "ex nihilo"
    assert text_of("bare", environ=environ) == "environment"
    assert text_of("text", environ=environ) == "file"
    assert text_of("text", environ=environ, flags={"text": {"text": "flag"}}) == "flag"


def test_paths_of_a_recipe_are_relative_to_it_and_those_of_flags_to_the_working_directory(here: Path) -> None:
    for folder in (here, here / "sub"):
        folder.mkdir(exist_ok=True)
        (folder / "more.txt").write_text("more")
    (here / "sub" / "r.yaml").write_text("stages: {text: {do: gather, path: more.txt}}")

    def path_of(**more: object) -> object:
        return load("sub/r.yaml", **more).stages["text"].config.path  # type: ignore

    assert path_of() == here / "sub" / "more.txt"
    assert path_of(flags={"text": {"path": "more.txt"}}) == here / "more.txt"


def test_a_stage_goes_before_a_path_of_its_name_unless_written_as_a_path(recipe: Path, here: Path) -> None:
    run(load(recipe), here / "other")
    (here / "pieces").symlink_to(here / "other" / "pieces")
    recipe.write_text(recipe.read_text() + "  far: {do: grow, tokens: ./pieces}\n")
    stages = load(recipe).stages
    assert stages["base"].sources["tokens"][0].stage == "pieces"
    assert stages["far"].sources["tokens"][0].path == here / "pieces"
    assert load(recipe).written(here)["stages"]["far"]["tokens"] == "./pieces"


def test_paths_to_what_is_no_finished_artifact_of_the_kind_are_refused(recipe: Path, here: Path) -> None:
    run(load(recipe), here / "runs" / "one")
    (here / "runs" / "one" / "base.partial").mkdir()
    text = "stages: {far: {do: grow, tokens: ./runs/one%s}}"
    assert "is a whole run; name one of its artifacts of kind tokens: " in problems(text % "")[0]
    assert "wants kind tokens, and" in problems(text % "/text")[0]
    assert "is not finished" in problems(text % "/base.partial")[0]
    assert "no such path" in problems(text % "/no")[0]


def test_optional_stage_is_left_out_of_lists_and_of_the_stages_that_need_it_optionally() -> None:
    text = (
        "stages:\n  text: {do: gather}\n  pieces: {do: cut, corpus: text}\n"
        "  base: {do: grow, tokens: pieces}\n"
        "  own: {do: cut, corpus: null, optional: true}\n"
        "  tuned: {do: grow, tokens: own, parent: base, optional: true}\n"
        "  last: {do: grow, tokens: pieces, parent: tuned}\n"
        "  scores: {do: score, models: [base, tuned, last]}\n"
    )
    read = load(write(text))
    assert read.left_out == ["own", "tuned"]
    assert [source.name for source in read.stages["scores"].sources["models"]] == ["base", "last"]
    assert read.stages["last"].sources.keys() == {"tokens"}
    whole = load("r.yaml", flags={"own": {"corpus": "./r.yaml"}})
    assert whole.left_out == [] and whole.stages["last"].sources["parent"][0].stage == "tuned"
    assert "left out" in problems(text.replace("parent: base, optional: true", "parent: base"))[0]


def test_models_of_one_name_from_two_runs_are_told_apart(recipe: Path, here: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        run(load(recipe, seed=seed), here / "runs" / name)
    read = load(write("stages: {scores: {do: score, models: [./runs/one/base, ./runs/two/base]}}"))
    assert [source.name for source in read.stages["scores"].sources["models"]] == ["one-base", "two-base"]
    (here / "old" / "runs").mkdir(parents=True)
    shutil.copytree(here / "runs" / "one", here / "old" / "runs" / "one")
    models = "[./runs/one/base, ./old/runs/one/base, ./runs/two/base]"
    found = load(write(f"stages: {{scores: {{do: score, models: {models}}}}}")).stages["scores"].inputs(here)
    assert isinstance(found["models"], dict) and len(found["models"]) == 3, "one of two was lost"
    assert list(found["models"])[1:] == ["old-runs-one-base", "two-base"]
    assert (
        "named twice" in problems("stages: {s: {do: score, models: [./runs/one/base, ./runs/one/base]}}")[0]
    )
