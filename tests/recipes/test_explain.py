"""Every setting explains itself, and is found by whatever part of its name a user knows."""

from __future__ import annotations

import shlex

import pytest

from exnihilo.core.config import parse_flags, resolve
from exnihilo.core.errors import ConfigError
from exnihilo.recipes.explain import RECIPE, Setting, look_up, settings
from exnihilo.recipes.stages import VERBS, find

ALL = [one for verb in (*VERBS, RECIPE) for one in settings(verb)]
TRAINING = ("pretrain", "sft", "grpo", "reward", "dpo", "ppo")
WITH_ADAPTERS = ("sft", "dpo", "reward", "ppo", "grpo")
SECTIONS = {"collect.from", "evaluate.pairs", "recipe.stages", "conversations.tasks"}
WITHOUT_EXAMPLE = SECTIONS | {f"{one}.lora" for one in WITH_ADAPTERS}
"""What takes more than one value of one flag."""


def names(found: list[Setting]) -> list[str]:
    """Without those of the toy stages that the tests of this room add."""
    return [one.name for one in found if one in ALL]


@pytest.mark.parametrize("setting", ALL, ids=lambda one: one.name)
def test_every_key_says_what_it_does_and_why_its_default_is_that(setting: Setting) -> None:
    row = setting.row
    assert row.description and row.type and row.default
    assert len(row.why.split()) >= 6, f"{setting.name}: add json_schema_extra=why(…) to the field"
    assert row.why != row.description and not row.why.endswith(".") and "  " not in row.why
    if row.default == "required":
        assert row.why.startswith(("there is no default", "the one value"))
    assert bool(setting.example) == (setting.name not in WITHOUT_EXAMPLE)
    assert setting.example != row.default


@pytest.mark.parametrize(
    "setting", [one for one in ALL if one.example and one.verb != RECIPE], ids=lambda one: one.name
)
def test_the_example_of_a_key_is_taken_by_its_schema(setting: Setting) -> None:
    flags = parse_flags(shlex.split(f"--{setting.row.key} {setting.example}"))
    try:
        resolve(find(setting.verb).config, flags=flags, environ={})
    except ConfigError as error:  # of required keys that are not given, and keys that go together
        assert f"--{setting.row.key}:" not in str(error), str(error)


def test_a_key_is_found_whole_by_its_end_and_as_a_flag() -> None:
    whole = look_up(["pretrain.optimizer.lr"])
    assert names(whole) == ["pretrain.optimizer.lr"]
    for words in (["pretrain", "--optimizer.lr"], ["--pretrain.optimizer.lr=0.1"], ["pretrain", "lr"]):
        assert look_up(words) == whole
    assert names(look_up(["optimizer.lr"])) == [f"{v}.optimizer.lr" for v in TRAINING]
    assert names(look_up(["lr"])) == names(look_up(["optimizer.lr"]))
    assert names(look_up(["python-world.worked-share"])) == ["python-world.worked_share"]
    assert names(look_up(["seed"])) == ["recipe.seed"]


def test_a_section_or_a_verb_lists_its_keys() -> None:
    listed = names(look_up(["grpo.schedule"]))
    assert listed == [f"grpo.schedule.{key}" for key in ("kind", "warmup", "cooldown", "final")]
    assert look_up(["tokenize"]) == settings("tokenize")
    # `corpus` is a key of many stages, `tokenizer` a stage and a key: the stage is meant.
    assert names(look_up(["corpus"])) == [
        f"{verb}.corpus" for verb in ("curate", "tokenizer", "tokenize", "python-world", "evaluate")
    ]
    assert look_up(["tokenizer"]) == settings("tokenizer")


def test_a_section_that_may_be_left_out_is_listed_with_its_keys() -> None:
    listed = names(look_up(["sft.lora"]))
    assert listed[:2] == ["sft.lora", "sft.lora.rank"] and names(look_up(["lora"]))[: len(listed)] == listed


def test_a_section_s_defaults_and_reasons_are_those_of_its_stage() -> None:
    (here,), (there,) = (look_up([f"{verb}.optimizer.lr_embedding"]) for verb in ("grpo", "pretrain"))
    assert (here.row.default, there.row.default) == ("0.0005", "null")
    assert here.row.why.startswith("0.0005") and here.row.why != there.row.why
    (beta,) = look_up(["grpo.optimizer.betas"])
    assert beta.row.why == look_up(["pretrain.optimizer.betas"])[0].row.why


def test_the_effect_tells_what_becomes_of_what_is_there() -> None:
    effects = {key: look_up([key])[0].effect for key in ("sft.log_every", "sft.steps", "sft.rows")}
    assert effects["sft.log_every"].startswith("changes records only")
    assert "goes on from its checkpoint" in effects["sft.steps"]
    assert effects["sft.rows"].startswith("decides the result")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["optimiser.lr"], "did you mean optimizer.lr?"),
        (["pretrain.stesp"], "did you mean pretrain.steps?"),
        (["xqzw"], "or a verb: collect"),
        ([], "which key?"),
        (["--"], "which key?"),
    ],
)
def test_an_unknown_key_is_one_line_with_the_nearest_name(words: list[str], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        look_up(words)
    assert hint in str(caught.value) and "\n" not in str(caught.value)
