"""`instructgpt` and `zephyr`: they begin as the quickstart does, and what is compared began at one model."""

from __future__ import annotations

import pytest

from exnihilo.align.dpo import DPOConfig
from exnihilo.align.grpo import GrpoConfig
from exnihilo.align.ppo import PPOConfig
from exnihilo.evaluate.evaluate import Evaluate
from exnihilo.recipes.load import load
from exnihilo.train.sft import SFTConfig

SHARED = ["library", "corpus", "tokenizer", "tokens", "questions", "base", "sft"]


@pytest.mark.parametrize("name", ["instructgpt", "zephyr"])
def test_what_a_finished_quickstart_made_is_not_made_again(name: str) -> None:
    stages, quickstart = load(name).stages, load("quickstart").stages
    for stage in SHARED:
        assert stages[stage].config == quickstart[stage].config
        assert stages[stage].stage.verb == quickstart[stage].stage.verb
    # In one folder they take nothing else's place.
    assert not (set(stages) - set(SHARED)) & set(quickstart)


def test_every_arm_starts_from_sft_and_none_sees_a_verifier() -> None:
    stages = load("instructgpt").stages
    compared = stages["compared"].config
    assert isinstance(compared, Evaluate)
    arms = compared.models[2:]
    assert compared.models[:2] == ["base", "sft"] and arms == ["continued", "dpo", "grpo", "ppo"]
    for arm in arms:
        config = stages[arm].config
        assert isinstance(config, SFTConfig | DPOConfig | GrpoConfig | PPOConfig) and config.model == "sft"
        if isinstance(config, GrpoConfig | PPOConfig):
            assert config.reward == "reward" and not config.force_reward
            assert config.families == compared.trained
    assert compared.pairs is not None and compared.best_of_model == "sft"
    assert {(arm, "sft") for arm in (*arms, "sft-best-of-16")} <= set(compared.pairs)


def test_zephyr_takes_a_file_of_preferences(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("mine") / "preferences.jsonl"
    file.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    stages = load("zephyr", flags={"dpo": {"examples": str(file)}}).stages
    config = stages["dpo"].config
    assert isinstance(config, DPOConfig) and config.examples == str(file)
    assert stages["dpo"].needs == ["sft"]
