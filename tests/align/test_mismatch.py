"""Sampler and trainer that disagree: measured, corrected, and nothing done where they agree."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from exnihilo.align.grpo import GrpoConfig
from exnihilo.align.kl_control import KLControl
from exnihilo.align.ppo_rollouts import PPORollouts
from exnihilo.align.responses import Response, Sampler
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError
from exnihilo.model.actor_critic import ActorCritic
from exnihilo.model.decoder import Decoder
from exnihilo.model.scorer import Scorer
from exnihilo.objectives.importance import importance_weights, mismatch
from exnihilo.objectives.policy import ADVANTAGES, OLD, REFERENCE, SAMPLED, PolicyGradient, response_logprobs
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokens.batch import Batch
from exnihilo.train.step import Accumulator
from random_decoder import random_decoder
from random_rollouts import Judge, by_length, items, make_model, rollouts

V = 12
CAP = 2.0


def policy(seed: int = 0, spread: float = 0.15) -> Decoder:
    model = random_decoder(V, seed=seed, depth=1).double()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return model


def every_answer(counts: Tensor, sampled: Tensor, reference: Tensor) -> Batch:
    """Each answer of one token to one question, counted as often as it comes: `[V]` each. What is summed over it is
    an expectation, with no noise in it."""
    rows = torch.full((V, 2), 3)
    field = torch.zeros(V, 2, dtype=torch.float64)

    def placed(values: Tensor) -> Tensor:
        found = field.clone()
        found[:, 1] = values
        return found

    targets = torch.zeros(V, 2, dtype=torch.long)
    targets[:, 1] = torch.arange(V)
    advantages = torch.linspace(-1, 2, V, dtype=torch.float64)[torch.randperm(V)]
    extra = {ADVANTAGES: placed(advantages), SAMPLED: placed(sampled), REFERENCE: placed(reference)}
    positions = torch.arange(2).expand(V, 2).contiguous()
    return Batch(rows, positions, torch.zeros_like(rows), targets, placed(counts), extra)


def answers(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model(torch.full((1, 2), 3), torch.arange(2)[None], torch.zeros(1, 2, dtype=torch.long))[
            0, 1
        ].log_softmax(-1)


def gradient(objective: PolicyGradient, model: Decoder, batch: Batch) -> Tensor:
    model.zero_grad()
    objective(model, batch).total.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_the_gradient_of_a_foreign_sampler_is_biased_and_corrected_it_is_close_to_the_expectation() -> None:
    """Whoever samples from weights that are a little off, and takes the samples for the policy's own, climbs another
    hill. Counted by their importance they give the gradient of the policy itself, up to what the cap cuts off."""
    torch.manual_seed(0)
    model = policy()
    sampler = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in sampler.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    own, foreign = answers(model), answers(sampler)
    ratio = (own - foreign).exp()
    assert 0.1 < float((own - foreign).abs().mean()) < 1 and float(ratio.max()) > 1.28
    torch.manual_seed(1)
    objective = PolicyGradient(0.0, importance_cap=CAP)
    expected = gradient(objective, model, every_answer(own.exp(), own, own))
    torch.manual_seed(1)
    batch = every_answer(foreign.exp(), foreign, own)
    taken_for_own = replace(batch, extra=batch.extra | {SAMPLED: batch.extra[REFERENCE]})

    def off(found: Tensor) -> float:
        return float((found - expected).norm() / expected.norm())

    biased, clipped = gradient(objective, model, taken_for_own), gradient(PolicyGradient(0.0), model, batch)
    corrected = gradient(objective, model, batch)
    uncut = gradient(PolicyGradient(0.0, importance_cap=1e9), model, batch)
    assert off(biased) > 0.1 and off(corrected) < 0.3 * off(biased)
    assert off(corrected) < 0.5 * off(clipped)  # the clip alone drops the tokens whose ratio is far from 1
    assert off(uncut) < 1e-6


def test_what_agrees_is_left_as_it_is_to_the_bit() -> None:
    model = policy()
    own = answers(model)
    torch.manual_seed(1)
    batch = every_answer(own.exp(), own, own)
    exact = torch.zeros_like(batch.weights)
    with torch.no_grad():
        exact[batch.weights != 0] = response_logprobs(model, batch)
    batch = replace(batch, extra=batch.extra | {SAMPLED: exact, REFERENCE: exact - 0.1})
    losses = [PolicyGradient(0.1, importance_cap=cap)(model, batch) for cap in (None, CAP)]
    assert torch.equal(losses[0].total, losses[1].total)
    assert float(losses[1].metrics["importance"] / losses[1].weight) == pytest.approx(1, abs=1e-15)
    grads = [gradient(PolicyGradient(0.1, importance_cap=cap), model, batch) for cap in (None, CAP)]
    assert torch.equal(*grads)


def test_old_weights_clip_the_ratio_and_their_mismatch_weighs_it() -> None:
    """By hand: π/old clipped at 1.28, and old/sampled cut off at 2."""
    model = policy()
    own = answers(model)
    torch.manual_seed(1)
    batch = every_answer(torch.ones(V, dtype=torch.float64), own, own)
    old = torch.where(batch.weights != 0, batch.extra[SAMPLED] - 0.5, 0.0)
    sampled = torch.where(batch.weights != 0, old - 3.0, 0.0)
    extra = batch.extra | {OLD: old, SAMPLED: sampled, ADVANTAGES: batch.weights}
    loss = PolicyGradient(0.0, importance_cap=CAP)(model, replace(batch, extra=extra))
    assert (loss.total / loss.weight).item() == pytest.approx(-1.28 * 2)
    assert float(loss.metrics["clipped"]) == float(loss.metrics["truncated"]) == V
    assert loss.metrics["sampler_gap"] / loss.weight == pytest.approx(3)


def test_weights_and_figures_are_those_of_closed_forms() -> None:
    trainer, sampled = torch.tensor([0.5, 0.2, 0.9]).log(), torch.tensor([0.25, 0.4, 0.1]).log()
    assert importance_weights(trainer, sampled, 3.0).tolist() == pytest.approx([2, 0.5, 3])
    found = mismatch(trainer, sampled, 3.0)
    assert found["importance"].tolist() == pytest.approx([2, 0.5, 9])
    assert found["truncated"].tolist() == [0, 0, 1]


def test_a_sampler_of_another_precision_is_measured_and_the_largest_gap_is_that_of_the_whole_step() -> None:
    tokenizer = train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)
    model = make_model(tokenizer)
    rough = copy.deepcopy(model).bfloat16()
    found = {}
    for name, sampler in (("same", model), ("rough", rough)):
        batch = rollouts(tokenizer, model).next(0, sampler)
        sums = [
            Accumulator(model, PolicyGradient(0.0, importance_cap=CAP), rows).gradients(batch)
            for rows in (None, 1)
        ]
        assert sums[0].metrics["sampler_gap_max"] == pytest.approx(
            sums[1].metrics["sampler_gap_max"], rel=1e-3
        )
        found[name] = sums[0].metrics
    assert found["same"]["sampler_gap_max"] < 1e-4
    assert 1e-4 < found["rough"]["sampler_gap"] < found["rough"]["sampler_gap_max"]
    assert found["rough"]["importance"] == pytest.approx(1, abs=0.05)


class Foreign(Sampler):
    """Samples from weights that are a little off those it is asked about."""

    def sample(self, step: int, model: Decoder) -> list[Response]:
        other = copy.deepcopy(model)
        torch.manual_seed(5)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return super().sample(step, other)


def test_ppo_weighs_what_a_foreign_sampler_chose_up_to_the_cap(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)
    found, figures = {}, {}
    for cap in (1e-6, 1.2, 1e9):
        sampler = Foreign(
            items(9), tokenizer, prompts=9, group=1, temperature=1.0, max_new=10, length=48, seed=3
        )
        source = PPORollouts(
            sampler, Judge(by_length), make_model(tokenizer), KLControl(0.1), length=48, epochs=1, parts=1, gamma=1.0,
            lam=0.95, importance_cap=cap, folder=tmp_path / str(cap),
            record=lambda step, responses, rewards, told, cap=cap: figures.update({cap: told}),
        )  # fmt: skip
        model = ActorCritic(make_model(tokenizer), Scorer(make_model(tokenizer, seed=1)))
        found[cap] = source.next(0, model)
    # With the smallest cap all count the same: what is left is the advantage itself.
    plain, cut, whole = (found[cap].extra[ADVANTAGES] for cap in (1e-6, 1.2, 1e9))
    plain = plain * 1e6
    kept = plain.abs() > 1e-3
    ratio = whole[kept] / plain[kept]
    assert ratio.min() < 0.9 and ratio.max() > 1.3
    assert torch.allclose(cut[kept], plain[kept] * ratio.clamp(max=1.2), rtol=1e-4)
    assert 0 < figures[1.2]["truncated"] < 1 and figures[1e9]["truncated"] == 0
    assert figures[1.2]["sampler_gap_max"] > figures[1.2]["sampler_gap"] > 0.01


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="importance_cap"):
        validate(GrpoConfig, {"model": "m", "examples": "e", "importance_cap": 0.5}, where="grpo")
