"""What --vary may say, and what it may not: all of it is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_comparison import question, write_recipe

from exnihilo.core.errors import ConfigError
from exnihilo.lab.arms import read_arms, read_vary, short_keys
from exnihilo.train.pretrain import PretrainConfig


@pytest.fixture
def tiny(here: Path) -> Path:
    return write_recipe(here)


def test_values_are_parted_by_commas_outside_of_brackets() -> None:
    assert read_vary(["base.clip=1, null"]) == {"base.clip": ["1", "null"]}
    assert read_vary(['a.b=["x","y"],["z"]', "a.c={k: 1, l: 2},{}"]) == {
        "a.b": ['["x","y"]', '["z"]'],
        "a.c": ["{k: 1, l: 2}", "{}"],
    }
    assert read_vary(['a.b="x,y",z', "--a.c=1,2"]) == {"a.b": ['"x,y"', "z"], "a.c": ["1", "2"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--vary is missing"),
        (["base.clip"], "written KEY=A,B"),
        (["=1,2"], "written KEY=A,B"),
        (["clip=1,2"], "a key is named with its stage"),
        (["seed=1,2"], "seeds are given with --seeds"),
        (["base.clip=1"], "give two values or more"),
        (["base.clip=1,,2"], "an empty value"),
        (["base.clip=1,2", "base.clip=3,4"], "given twice"),
    ],
)
def test_core_2_what_is_no_key_with_values_is_told(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_vary(words)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("bas.clip=1,2", "--vary bas.clip: no stage bas in tiny; did you mean base?"),
        (
            "base.optimzer.name=muon,adamw",
            "--vary base.optimzer: unknown key; did you mean --vary base.optimizer?",
        ),
        ("base.optimizer.nam=muon,adamw", "did you mean --vary base.optimizer.name?"),
        (
            "base.optimizer.name=muon,sgd",
            '--vary base.optimizer.name: got "sgd"; allowed: muon | normuon | adamw',
        ),
        ("base.model.depth=2,many", '--vary base.model.depth: got "many"'),
        ("base.clip=1,1.0", "1 and 1.0 are the same to every stage"),
        ("base.log_every=5,10", "only changes records"),
        ("base.steps=10,20", "says how long to train, which --equal flops sets"),
        ("scores.stride=8,16", "no model of tiny depends on it"),
    ],
)
def test_core_2_what_cannot_be_compared_is_refused_before_any_work(
    tiny: Path, here: Path, vary: str, message: str
) -> None:
    before = sorted(here.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        question(tiny, vary)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(here.rglob("*")) == before


def test_a_key_that_varies_cannot_be_given_as_well(tiny: Path) -> None:
    for flags in ({"base": {"optimizer": {"name": "muon"}}}, {"base": {"optimizer": "{}"}}):
        with pytest.raises(ConfigError, match=r"--vary base.optimizer.name: also given"):
            question(tiny, "base.optimizer.name=muon,adamw", flags=flags)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("acuracy", "did you mean accuracy?"),
        ("bse.loss", "bse is no model that differs between the arms; did you mean base?"),
        ("loss/doc", "unknown"),
    ],
)
def test_core_2_a_metric_that_no_run_will_have_is_told_at_once(tiny: Path, metric: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        question(tiny, "base.clip=1,null", metrics=[metric])
    assert message in str(caught.value)


def test_losses_per_token_of_different_tokenizers_are_not_compared(tiny: Path) -> None:
    asked = question(tiny, "tokenizer.vocabulary=280,300", metrics=["validation_bits_per_byte"])
    assert not asked.per_token and asked.models == ["base"]
    with pytest.raises(ConfigError, match="the arms have different tokenizers"):
        question(tiny, "tokenizer.vocabulary=280,300", metrics=["validation_loss"])


def test_seeds_follow_the_recipes_own(tiny: Path) -> None:
    assert question(tiny, "base.clip=1,null").seeds == [1, 2, 3]
    assert question(tiny, "base.clip=1,null", seeds=2, seed=7).seeds == [7, 8]
    with pytest.raises(ConfigError, match="--seeds: got 0"):
        question(tiny, "base.clip=1,null", seeds=0)


def test_several_keys_make_a_grid_and_other_keys_hold_for_all_arms(tiny: Path) -> None:
    vary = read_vary(["base.model.depth=1,2", "base.optimizer.lr=0.01,0.02"])
    arms = read_arms(str(tiny), vary, flags={"base": {"rows": "3"}})
    assert [arm.name for arm in arms] == [
        "depth=1, lr=0.01",
        "depth=1, lr=0.02",
        "depth=2, lr=0.01",
        "depth=2, lr=0.02",
    ]
    configs = [arm.recipe.stages["base"].config for arm in arms]
    assert all(isinstance(one, PretrainConfig) and one.rows == 3 for one in configs)
    assert [(one.model.depth, one.optimizer.lr) for one in configs if isinstance(one, PretrainConfig)] == [
        (1, 0.01), (1, 0.02), (2, 0.01), (2, 0.02),
    ]  # fmt: skip


def test_short_keys_are_as_long_as_it_takes() -> None:
    assert short_keys(["base.optimizer.lr", "base.rows"]) == {"base.optimizer.lr": "lr", "base.rows": "rows"}
    assert short_keys(["base.optimizer.lr", "sft.optimizer.lr"]) == {
        "base.optimizer.lr": "base.optimizer.lr",
        "sft.optimizer.lr": "sft.optimizer.lr",
    }
