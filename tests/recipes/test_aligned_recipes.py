"""`instructgpt`, `zephyr` and `llama2`: they begin as the quickstart does, and what is compared began at one model."""

from __future__ import annotations

import pytest

from exnihilo.align.dpo import DPOConfig
from exnihilo.align.grpo import GrpoConfig
from exnihilo.align.ppo import PPOConfig
from exnihilo.align.rejection import RejectionConfig
from exnihilo.align.reward import RewardConfig
from exnihilo.align.rewarded import RewardedConfig
from exnihilo.evaluate.evaluate import Evaluate
from exnihilo.recipes.load import load
from exnihilo.train.sft import SFTConfig

SHARED = ["library", "corpus", "tokenizer", "tokens", "questions", "base", "sft"]


@pytest.mark.parametrize("name", ["instructgpt", "zephyr", "llama2"])
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


def test_llama2s_reward_models_learn_one_aspect_each_and_safety_comes_first() -> None:
    stages = load("llama2").stages
    for aspect, pairs, judge in (
        ("helpfulness", "helpful-pairs", "helpful"),
        ("safety", "safe-pairs", "safe"),
    ):
        sampled, trained = stages[pairs].config, stages[judge].config
        assert isinstance(sampled, RejectionConfig) and sampled.aspect == aspect
        assert isinstance(trained, RewardConfig)
        assert trained.aspects == [aspect] and trained.examples == pairs and trained.model == "sft"
    for name in ("best-1", "best-2", "ppo"):
        config = stages[name].config
        assert isinstance(config, RewardedConfig) and not config.force_reward
        assert config.reward == ["helpful", "safe"]
        assert config.rewards.rule == "safety-first" and config.rewards.unsafe == ["scope"]
    second = stages["best-2"].config
    assert isinstance(second, RejectionConfig) and second.model == "tuned-1" and second.earlier == ["best-1"]
    assert "tuned" in stages["ppo"].needs
