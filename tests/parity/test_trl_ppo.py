"""PPO against trl: a whole `PPOTrainer` runs, and what it computes on the way is compared with ours.

Its `train` is one long method, so the tests read its variables where it calls `backward`. What it sampled, with
log-probabilities, values and scores, is our input; its rewards, advantages, losses and gradients are what ours have
to be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from exnihilo.align.gae import generalised_advantages, token_rewards, whiten
from exnihilo.objectives.ppo import ClippedPolicyAndValue
from exnihilo.tokens.batch import Batch
from trl_trainers import make_classifier, make_language_model, make_tokenizer, mean

pytest.importorskip("trl")

from datasets import Dataset
from trl.experimental.ppo import PPOConfig, PPOTrainer
from trl.experimental.ppo.ppo_trainer import masked_mean, masked_var, masked_whiten

WIDTH, PROMPT, ROWS = 6, 3, 16
BETA, GAMMA, LAMBDA, CLIP, VALUE_CLIP, VALUE_WEIGHT = 0.3, 0.97, 0.9, 0.1, 0.05, 0.4
OF_A_ROLLOUT = (
    "query_responses", "responses", "logprobs", "ref_logprobs", "values", "scores", "padding_mask", "padding_mask_p1",
    "rewards", "advantages", "returns",
)  # fmt: skip
NAMES = (*OF_A_ROLLOUT, "micro_batch_inds", "pg_loss", "vf_loss")


class AsDecoder:
    """A model of `transformers` as our objectives read one; rows are single segments and padded on the right."""

    def __init__(self, model: Any) -> None:
        self.model, self.head_weight = model, model.lm_head.weight

    def hidden(self, tokens: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        found: Tensor = self.model.model(input_ids=tokens, position_ids=positions).last_hidden_state
        return found


def critic(model: Any, tokens: Tensor, positions: Tensor) -> Tensor:
    scores: Tensor = model.score(model.model(input_ids=tokens, position_ids=positions).last_hidden_state)
    return scores


def batch_of(seen: dict[str, Any], rows: Any, weights: Tensor, advantages: Tensor) -> Batch:
    """Rows of a rollout of trl's as a batch of ours: a field by position says what its target has."""
    tokens = seen["query_responses"][rows]

    def placed(values: Tensor) -> Tensor:
        field = torch.zeros(tokens.shape, dtype=values.dtype)
        field[:, PROMPT - 1 : -1] = values
        return field

    extra = {"advantages": advantages, "old_logprobs": seen["logprobs"], "values": seen["values"]}
    extra = {name: placed(values[rows]) for name, values in (extra | {"returns": seen["returns"]}).items()}
    positions = torch.arange(tokens.shape[1]).repeat(len(tokens), 1)
    return Batch(
        tokens, positions, torch.zeros_like(tokens), tokens.roll(-1, 1), placed(weights[rows].float()), extra
    )


def our_loss(model: Any, seen: dict[str, Any]) -> tuple[Tensor, Tensor, float]:
    """The losses of policy and critic, each a mean over the tokens that trl takes it over, and the share of clipped
    ratios."""
    pair: Any = SimpleNamespace(
        policy=AsDecoder(model.policy),
        critic=lambda tokens, positions, _: critic(model.value_model, tokens, positions),
    )
    rows = seen["micro_batch_inds"]
    policy = batch_of(seen, rows, ~seen["padding_mask"], seen["advantages"])
    value = batch_of(seen, rows, ~seen["padding_mask_p1"], torch.zeros_like(seen["advantages"]))
    one = ClippedPolicyAndValue(CLIP, VALUE_CLIP, 0.0)(pair, policy)
    two = ClippedPolicyAndValue(CLIP, VALUE_CLIP, VALUE_WEIGHT)(pair, value)
    return mean(one), mean(two), float(one.metrics["clipped"] / one.weight)


@pytest.fixture(scope="module", params=["eos", None], ids=["responses end", "responses are cut off"])
def steps(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[dict[str, Any]]]:
    """What each backward pass of two rollouts saw: trl's variables, our losses and the gradients of both."""
    folder: Path = tmp_path_factory.mktemp("ppo")
    seen: list[dict[str, Any]] = []
    args = PPOConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], save_strategy="no", disable_tqdm=True, seed=0,
        per_device_train_batch_size=ROWS // 2, gradient_accumulation_steps=2, num_mini_batches=2, num_ppo_epochs=2,
        total_episodes=2 * ROWS, response_length=WIDTH, stop_token=request.param, temperature=1.0,
        local_rollout_forward_batch_size=ROWS, num_sample_generations=0, learning_rate=0.01, kl_coef=BETA, gamma=GAMMA,
        lam=LAMBDA, cliprange=CLIP, cliprange_value=VALUE_CLIP, vf_coef=VALUE_WEIGHT, whiten_rewards=False,
        gradient_checkpointing=False, missing_eos_penalty=None,
    )  # fmt: skip
    prompts = torch.randint(0, 15, (2 * ROWS, PROMPT), generator=torch.Generator().manual_seed(0))
    trainer = PPOTrainer(
        args=args, processing_class=make_tokenizer(), model=make_language_model(0), ref_model=make_language_model(1),
        reward_model=make_classifier(2), value_model=make_classifier(3),
        train_dataset=Dataset.from_dict({"input_ids": prompts.tolist()}),
    )  # fmt: skip
    backward = trainer.accelerator.backward

    def recorded(loss: Tensor, **given: Any) -> None:
        its = sys._getframe(1).f_locals
        step = {name: its[name] for name in NAMES if name in its}
        step = {
            name: value.detach().clone() if isinstance(value, Tensor) else value
            for name, value in step.items()
        }
        parameters = [p for p in its["model"].parameters() if p.requires_grad]
        policy, value, step["clipped"] = our_loss(its["model"], step)
        step["ours"] = policy.item(), value.item()
        step["our_gradient"] = torch.autograd.grad(policy + value, parameters, allow_unused=True)
        step["gradient"] = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        step["loss"] = loss.detach()
        seen.append(step)
        backward(loss, **given)

    trainer.accelerator.backward = recorded
    trainer.train()
    yield seen


def test_ppo_1_losses_and_gradients_are_those_of_ppo_trainer(steps: list[dict[str, Any]]) -> None:
    """trl takes the policy's mean over a response, the critic's over a response and the position after its end, where
    it has one. Gradients of both are compared at every pass, the last of which start from a policy that moved."""
    assert len(steps) == 2 * 2 * 2
    for step in steps:
        policy, value = step["ours"]
        assert policy == pytest.approx(float(step["pg_loss"]), abs=1e-5)
        assert value == pytest.approx(VALUE_WEIGHT * float(step["vf_loss"]), abs=1e-5)
        assert policy + value == pytest.approx(float(step["loss"]), abs=1e-5)
        largest = 0.0
        for ours, theirs in zip(step["our_gradient"], step["gradient"], strict=True):
            assert (ours is None) == (theirs is None)
            if theirs is not None:
                largest = max(largest, float(theirs.abs().max()))
                assert float((ours - theirs).abs().max()) <= 1e-5 * max(1.0, float(theirs.abs().max()))
        assert largest > 1e-3
    assert steps[0]["clipped"] == 0 and 0 < max(step["clipped"] for step in steps) < 1


def test_ppo_3_rewards_advantages_and_returns_are_those_of_ppo_trainer(steps: list[dict[str, Any]]) -> None:
    """trl lets a response that ended early have one step more, after its end token: there the score lands, and there
    the critic has a value. Ours lands on the end token; so our mask is trl's with that step here. Where responses are
    cut off there is no such step, and the masks are all there is."""
    for step in (steps[0], steps[-1]):
        mask = ~step["padding_mask_p1"]
        divergence = step["logprobs"] - step["ref_logprobs"]
        rewards = token_rewards(step["scores"], divergence, mask, BETA)
        assert torch.allclose(rewards, step["rewards"], rtol=0, atol=1e-5)
        found, returns = generalised_advantages(rewards, step["values"], mask, gamma=GAMMA, lam=LAMBDA)
        assert torch.allclose(returns, step["returns"], rtol=0, atol=1e-5)
        whitened = whiten(found, ~step["padding_mask"], ddof=1)
        assert torch.allclose(whitened, step["advantages"], rtol=0, atol=1e-5)
        assert float(step["rewards"].abs().max()) > 0.1


def test_ppo_3_runs_had_responses_of_either_kind(
    steps: list[dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    ended = steps[0]["padding_mask"].any()
    assert bool(ended) == ("responses end" in request.node.name)


def test_ppo_3_whitening_is_masked_whiten() -> None:
    """trl's variance is that of a sample (n - 1), its eps ours; where the mask is not, its numbers mean nothing. Its
    n / (n - 1) is float32."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 9, generator=generator, dtype=torch.float64) * 3 + 2
    mask = torch.rand(5, 9, generator=generator) < 0.7
    ours, theirs = whiten(values, mask, ddof=1), masked_whiten(values, mask)
    assert torch.allclose(ours[mask], theirs[mask], rtol=0, atol=1e-6)
    assert float(values[mask].mean()) == pytest.approx(float(masked_mean(values, mask)), abs=1e-12)
    plain = (values[mask] - masked_mean(values, mask)) * (
        masked_var(values, mask, unbiased=False) + 1e-8
    ).rsqrt()
    assert torch.allclose(whiten(values, mask)[mask], plain, rtol=0, atol=1e-12)
