"""GRPO on adapters: the reference is the policy without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.grpo import GrpoConfig, _with_rate, grpo
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.model.adapter_folder import load_adapter
from exnihilo.model.adapters import adapters_of, add_lora, lora_layers
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives.policy import ANCHOR, REFERENCE, PolicyGradient, response_logprobs
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.state import Scalars, check_state
from random_decoder import random_decoder
from random_rollouts import items, rollouts


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
        assert (response_logprobs(model, one)[0] - one.extra[REFERENCE][kept]).abs().max() > 0.01


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


def test_open_learning_rates_are_filled_in() -> None:
    def rate(**more: Any) -> float | None:
        return _with_rate(
            validate(GrpoConfig, {"model": "m", "examples": "e", **more}, where="grpo"), 384
        ).optimizer.lr

    assert rate() == 0.004 and rate(lora={}) == 0.00125
    assert rate(optimizer={"lr": 0.5}) == rate(lora={}, optimizer={"lr": 0.5}) == 0.5


def test_dropout_is_refused_where_answers_are_sampled() -> None:
    with pytest.raises(ConfigError, match=r"lora\.dropout.*give 0"):
        validate(GrpoConfig, {"model": "m", "examples": "e", "lora": {"dropout": 0.1}}, where="grpo")
