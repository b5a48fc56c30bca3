"""Adapters in alignment: the reference is the policy without them, heads are trained in full, what is saved loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from exnihilo.align.grpo import GrpoConfig, _with_rate, grpo
from exnihilo.align.kl_control import KLControl
from exnihilo.align.ppo import PPOConfig
from exnihilo.align.ppo import run as ppo
from exnihilo.align.ppo_rollouts import PPORollouts
from exnihilo.align.responses import Sampler
from exnihilo.align.reward import RewardConfig
from exnihilo.align.reward import run as reward
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Interrupted
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.model.actor_critic import ActorCritic
from exnihilo.model.adapter_folder import load_adapter
from exnihilo.model.adapters import adapters_of, add_lora, lora_layers
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.lora_config import LoraConfig
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import load_scorer
from exnihilo.objectives.policy import ANCHOR, REFERENCE, PolicyGradient, response_logprobs
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.state import Scalars, check_state
from exnihilo.train.config import FitConfig, OptimizerConfig, open_rates
from random_decoder import random_decoder
from random_rollouts import items, rollouts
from stopped_runs import workspace_until


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)


def make_model(tokenizer: Tokenizer) -> Decoder:
    return random_decoder(tokenizer.vocab_size)


def adapted(tokenizer: Tokenizer, *, dora: bool) -> Decoder:
    model = make_model(tokenizer)
    add_lora(model, LoraConfig(rank=4, dora=dora), seed=1)
    with torch.no_grad():
        for adapter in adapters_of(model).values():
            adapter.B.normal_(std=0.05)
    return model


def parity(item: dict[str, Any], text: str) -> float | None:
    return float(len(text) % 2)


class Kept:
    """Anchored rows: the same tokens each step."""

    def next(self, step: int, model: object = None) -> Batch:
        columns = torch.arange(48)[None]
        tokens = (columns * 7) % 200 + 20
        return Batch(tokens, columns, torch.zeros_like(columns), tokens.roll(-1), torch.ones(1, 48))

    def state(self) -> dict[str, int | float | str]:
        return {"source": "kept"}

    def resume(self, state: Scalars) -> None:
        check_state(state, self.state())


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_the_reference_is_the_policy_without_adapters(dora: bool, tokenizer: Tokenizer) -> None:
    """A batch and its loss are what a second copy of the base as reference makes of them, and the sampler agrees with
    the trainer, though it samples from merged weights."""
    model, copy = adapted(tokenizer, dora=dora), make_model(tokenizer).requires_grad_(False)
    found = []
    for reference in (model, copy):
        source = rollouts(tokenizer, reference, parity, anchor=Kept(), anchor_weight=2.0)
        batch = source.next(0, model)
        loss = PolicyGradient(0.1, reference=reference)(model, batch)
        found.append(
            (batch, loss, torch.autograd.grad(loss.total, next(iter(adapters_of(model).values())).B))
        )
    (one, loss, grad), (two, expected, expected_grad) = found
    assert torch.equal(one.tokens, two.tokens) and torch.equal(one.extra[REFERENCE], two.extra[REFERENCE])
    assert torch.equal(loss.total, expected.total) and torch.equal(grad[0], expected_grad[0])
    assert loss.metrics["kl"] > 0.01 and loss.metrics["anchor"] > 0.01 and (one.extra[ANCHOR] > 0).any()
    assert loss.metrics["sampler_gap"] / loss.weight < 1e-4
    assert all(layer.enabled and layer.merged is None for layer in lora_layers(model))
    kept = one.weights != 0
    with torch.no_grad():
        assert (response_logprobs(model, one) - one.extra[REFERENCE][kept]).abs().max() > 0.01


def test_the_stage_leaves_a_merged_policy_and_its_adapters(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    save_model(make_model(tokenizer), tmp_path / "tokenizer", tmp_path / "model")
    write_jsonl(tmp_path / "examples/prompts.jsonl", items(6))
    config = GrpoConfig(
        model="m", examples="e", steps=2, prompts=2, group=4, max_new=4, length=48, lora=LoraConfig(rank=2)
    )
    grpo(config, {"model": tmp_path / "model", "examples": tmp_path / "examples"}, workspace)
    start, policy = load_model(tmp_path / "model"), load_model(workspace.path)
    assert torch.equal(policy.embedding.weight, start.embedding.weight)
    load_adapter(start, workspace.path / "adapter")
    tokens = Kept().next(0).tokens
    with torch.no_grad():
        assert (start(tokens) - policy(tokens)).abs().max() < 1e-5
    assert [line["step"] for _, line in read_jsonl(workspace.path / "metrics.jsonl")]


class ByLength:
    """A reward source: the length of a text, modulo 3."""

    name = "length"

    def __call__(self, responses: Any) -> list[float | None]:
        return [float(len(response.text) % 3) for response in responses]


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_the_reference_of_ppo_is_the_policy_without_adapters(
    dora: bool, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    policy, copy = adapted(tokenizer, dora=dora), make_model(tokenizer).requires_grad_(False)
    torch.manual_seed(0)
    model = ActorCritic(policy, Scorer(make_model(tokenizer)))
    figures: list[dict[str, float]] = []
    batches = []
    for i, reference in enumerate((policy, copy)):
        sampler = Sampler(
            items(9), tokenizer, prompts=9, group=1, temperature=1.0, max_new=8, length=48, seed=3
        )
        source = PPORollouts(
            sampler, ByLength(), reference, KLControl(0.1), length=48, epochs=1, parts=1, gamma=1.0, lam=0.95,
            folder=tmp_path / str(i), record=lambda step, r, w, found: figures.append(found),
        )  # fmt: skip
        batches.append(source.next(0, model).fields())
    assert all(torch.equal(tensor, batches[1][name]) for name, tensor in batches[0].items())
    assert figures[0] == figures[1] and abs(figures[0]["kl_per_sequence"]) > 0.01
    assert all(layer.enabled and layer.merged is None for layer in lora_layers(model))


Build = Callable[..., Workspace]


@pytest.fixture
def go(tokenizer: Tokenizer, tmp_path: Path) -> Build:
    """Runs a stage on the model, the preferences and the questions of a folder, until it is asked to stop."""
    tokenizer.save(tmp_path / "tokenizer")
    save_model(make_model(tokenizer), tmp_path / "tokenizer", tmp_path / "model")
    write_jsonl(tmp_path / "prompts/prompts.jsonl", items(12))
    pairs = [
        {"prompt": f"What is {i}?", "chosen": f"Yes. It is {i}.", "rejected": f"No. It is {i}."}
        for i in range(60)
    ]
    write_jsonl(tmp_path / "preferences.jsonl", pairs)

    def build(
        run: Callable[..., None], config: FitConfig, out: str, stop_at: int | None = None, **inputs: Path
    ) -> Workspace:
        work = workspace_until(tmp_path / out, stop_at)
        run(config, {"model": tmp_path / "model", **inputs}, work)
        return work

    return build


def checkpoint_of(work: Path) -> dict[str, torch.Tensor]:
    return load_file(max(work.glob("checkpoints/step-*")) / "model.safetensors")


def test_a_reward_model_of_adapters_has_a_head_of_its_own(go: Build, tmp_path: Path) -> None:
    """Stopped after five steps of eighteen it goes on to the same bits, from checkpoints of adapters and head alone."""
    config = RewardConfig(
        model="m", examples="e", rows=4, length=96, steps=18, held_out=0.3, lora=LoraConfig(rank=4),
        checkpoint_every=3, log_every=1,
    )  # fmt: skip
    given = {"examples": tmp_path / "preferences.jsonl"}
    whole = go(reward, config, "whole", **given)
    with pytest.raises(Interrupted):
        go(reward, config, "stopped", 5, **given)
    trained = checkpoint_of(tmp_path / "stopped")
    assert {name for name in trained if ".adapters." not in name} == {"output.weight"}
    stopped = go(reward, config, "stopped", **given)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors", "scale.json", "card.json"):
        assert (stopped.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    assert whole.summary["accuracy"] > 0.9
    model, own, _ = load_scorer(whole.path)
    base = load_model(tmp_path / "model")
    assert torch.equal(model.decoder.embedding.weight, base.embedding.weight)
    load_adapter(base, whole.path / "adapter")
    tokens = torch.tensor([own.encode("Yes. It is 3.")])
    scores = [Scorer(base), model]
    scores[0].output.load_state_dict(model.output.state_dict())
    with torch.no_grad():
        one, two = (scorer(tokens) for scorer in scores)
    assert (one - two).abs().max() < 1e-4 and two.std() > 1e-3


def test_ppo_trains_adapters_of_policy_and_critic_and_leaves_a_merged_policy(
    go: Build, tmp_path: Path
) -> None:
    """Stopped in the middle of a rollout it goes on to the same bits."""
    config = PPOConfig(
        model="m", examples="e", steps=8, prompts=6, max_new=4, length=48, epochs=2, parts=2,
        lora=LoraConfig(rank=2), checkpoint_every=3, log_every=1, reward="r", force_reward=True,
    )  # fmt: skip
    judge = go(
        reward,
        RewardConfig(model="m", examples="e", rows=4, length=96, steps=1, lora=LoraConfig(rank=2)),
        "judge",
        examples=tmp_path / "preferences.jsonl",
    )
    given = {"examples": tmp_path / "prompts", "reward": judge.path}
    whole = go(ppo, config, "whole", **given)
    with pytest.raises(Interrupted):
        go(ppo, config, "stopped", 5, **given)
    trained = checkpoint_of(tmp_path / "stopped")
    assert {name for name in trained if ".adapters." not in name} == {"critic.output.weight"}
    assert {name.partition(".")[0] for name in trained} == {"policy", "critic"}
    stopped = go(ppo, config, "stopped", **given)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (stopped.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    lines = [line for _, line in read_jsonl(whole.path / "metrics.jsonl")]
    first = next(line for line in lines if "kl_per_sequence" in line)
    assert first["kl_per_sequence"] == pytest.approx(0, abs=1e-4) and first["sampler_gap"] < 1e-4
    start, policy = load_model(tmp_path / "model"), load_model(whole.path)
    assert torch.equal(policy.embedding.weight, start.embedding.weight)
    load_adapter(start, whole.path / "adapter")
    tokens = Kept().next(0).tokens
    with torch.no_grad():
        beside = start(tokens)
        assert (beside - policy(tokens)).abs().max() < 1e-5
        assert (beside - load_model(tmp_path / "model")(tokens)).abs().max() > 1e-4


def test_open_learning_rates_are_filled_in() -> None:
    def rate(**more: Any) -> float | None:
        return _with_rate(
            validate(GrpoConfig, {"model": "m", "examples": "e", **more}, where="grpo"), 384
        ).optimizer.lr

    assert rate() == 0.004 and rate(lora={}) == 0.00125
    assert rate(optimizer={"lr": 0.5}) == rate(lora={}, optimizer={"lr": 0.5}) == 0.5
    found = open_rates(OptimizerConfig(), 0.2, 0.1, None)
    assert (found.lr, found.lr_embedding) == (0.2, 0.1)
    assert open_rates(OptimizerConfig(name="adamw", lr_embedding=0.3), 0.2, 0.1, 0.4) == OptimizerConfig(
        name="adamw", lr=0.4, lr_embedding=0.3
    )
    with pytest.raises(ConfigError, match=r"optimizer\.lr: open, and of AdamW there is no default here"):
        open_rates(OptimizerConfig(name="adamw"), 0.2, 0.1, None)


@pytest.mark.parametrize("schema", [GrpoConfig, PPOConfig])
def test_dropout_is_refused_where_answers_are_sampled(schema: type[FitConfig]) -> None:
    with pytest.raises(ConfigError, match=r"lora\.dropout.*give 0"):
        validate(schema, {"model": "m", "examples": "e", "lora": {"dropout": 0.1}}, where="stage")


def test_a_reward_model_has_no_output_head_to_adapt() -> None:
    with pytest.raises(ConfigError, match=r"a head of its own instead of lm_head; leave it out"):
        given = {"model": "m", "examples": "e", "lora": {"targets": ["q_proj", "lm_head"]}}
        validate(RewardConfig, given, where="reward")
