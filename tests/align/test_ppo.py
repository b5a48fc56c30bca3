"""PPO: the first ratio is 1, rewards and advantages are where they belong, rollouts survive, and the reward rises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.kl_control import KLControl
from exnihilo.align.ppo import PPOConfig, run
from exnihilo.align.ppo_rollouts import PPORollouts
from exnihilo.align.responses import Response, Sampler
from exnihilo.align.rewards import Unended, Verified
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.model.actor_critic import ActorCritic
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.scorer import Scorer
from exnihilo.objectives.policy import ADVANTAGES, OLD
from exnihilo.objectives.ppo import PTX, RETURNS, VALUES, ClippedPolicyAndValue
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import Batch
from random_rollouts import items, make_model, yes_or_no

TEXT = "What is one plus one? It is two. Yes. No. " * 4


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT], 280)


class ByLength:
    """Rewards that differ: the length of the text, or nothing for every fifth response."""

    name = "reward"

    def __call__(self, responses: Any) -> list[float | None]:
        return [None if i % 5 == 4 else float(len(r.text) % 3) for i, r in enumerate(responses)]


def actor_critic(tokenizer: Tokenizer) -> ActorCritic:
    torch.manual_seed(3)
    return ActorCritic(make_model(tokenizer), Scorer(make_model(tokenizer, seed=1)))


Make = Callable[..., PPORollouts]


@pytest.fixture
def make(tokenizer: Tokenizer, tmp_path: Path) -> Make:
    def build(reference: Decoder | None = None, folder: str = "rollouts", **changes: Any) -> PPORollouts:
        sampler = Sampler(
            items(20), tokenizer, prompts=15, group=1, temperature=1.0, max_new=10, length=48, seed=3
        )
        given: dict[str, Any] = {
            "length": 48,
            "epochs": 2,
            "parts": 2,
            "gamma": 1.0,
            "lam": 0.95,
            "importance_cap": 2.0,
        }
        return PPORollouts(
            sampler, ByLength(), reference or make_model(tokenizer), KLControl(0.1), folder=tmp_path / folder,
            **(given | changes),
        )  # fmt: skip

    return build


def whole(source: PPORollouts, model: ActorCritic) -> Batch:
    """All that a rollout's first time through is learned from."""
    return Batch.cat([source.next(step, model) for step in range(source.parts)])


def test_ppo_1_the_first_ratio_is_one_nothing_is_clipped_and_the_start_is_no_way_off(
    make: Make, tokenizer: Tokenizer
) -> None:
    model, figures = actor_critic(tokenizer), []
    source = make(record=lambda step, responses, rewards, found: figures.append(found))
    loss = ClippedPolicyAndValue()(model, source.next(0, model))
    assert float(loss.metrics["ratio"] / loss.weight) == pytest.approx(1, abs=1e-5)
    assert float(loss.metrics["clipped"]) == 0 and abs(float(loss.metrics["approximate_kl"])) < 1e-4
    assert figures[0]["kl_per_sequence"] == pytest.approx(0, abs=1e-4) and figures[0]["sampler_gap"] < 1e-5
    assert figures[0]["unscorable"] == pytest.approx(3 / 15)


def test_every_part_of_a_rollout_is_learned_from_once_an_epoch(make: Make, tokenizer: Tokenizer) -> None:
    model = actor_critic(tokenizer)
    source = make()
    parts = [source.next(step, model) for step in range(4)]
    first, second = Batch.cat(parts[:2]), Batch.cat(parts[2:])

    def rows(batch: Batch) -> list[tuple[int, ...]]:
        return sorted(tuple(row) for row in batch.tokens.tolist())

    assert rows(first) == rows(second)
    assert not torch.equal(first.tokens, second.tokens) or len(first) < 3
    # Whitened over all of the rollout's tokens.
    kept = first.weights != 0
    advantages = first.extra[ADVANTAGES][kept]
    assert abs(float(advantages.mean())) < 1e-4 and float(advantages.std(correction=0)) == pytest.approx(
        1, abs=1e-3
    )
    for name in (ADVANTAGES, OLD, VALUES, RETURNS):
        assert not first.extra[name][~kept].any(), name


def test_ppo_2_the_score_is_the_last_tokens_and_each_token_pays_for_its_divergence(
    make: Make, tokenizer: Tokenizer
) -> None:
    """With λ = γ = 1 and a critic that knows nothing, returns are the score less β times the divergence to come."""
    policy = actor_critic(tokenizer)
    torch.nn.init.zeros_(policy.critic.output.weight)
    reference = make_model(tokenizer, seed=5)
    seen: list[tuple[list[Response], list[float | None]]] = []
    source = make(
        reference, lam=1.0, record=lambda step, responses, rewards, found: seen.append((responses, rewards))
    )
    batch = whole(source, policy)
    expected = {}
    for response, reward in zip(*seen[0], strict=True):
        if reward is None:
            continue
        ids, start = torch.tensor([response.ids]), len(response.prompt) - 1
        with torch.no_grad():
            mine, theirs = (
                torch.log_softmax(m(ids[:, :-1])[0], -1).gather(1, ids[0, 1:, None])[start:, 0]
                for m in (policy.policy, reference)
            )
        expected[tuple(response.ids)] = reward - 0.1 * (mine - theirs).flip(0).cumsum(0).flip(0)
    found = 0
    for r in range(len(batch)):
        for segment in range(int(batch.segments[r].max()) + 1):
            here = (batch.segments[r] == segment).nonzero()[:, 0]
            if not len(here):
                continue
            ids = (*batch.tokens[r, here].tolist(), int(batch.targets[r, here[-1]]))
            answer = here[batch.weights[r, here] != 0]
            assert torch.allclose(batch.extra[RETURNS][r, answer], expected[ids], atol=1e-4)
            found += 1
    assert found == len(expected)


def test_a_rollout_is_taken_from_disk_where_the_policy_has_moved(make: Make, tokenizer: Tokenizer) -> None:
    model = actor_critic(tokenizer)
    source = make()
    expected = [source.next(step, model) for step in range(4)]
    with torch.no_grad():
        model.policy.embedding.weight.add_(1.0)
    resumed = make()
    resumed.resume(source.state())
    for step in (1, 3):
        for name, tensor in expected[step].fields().items():
            assert torch.equal(resumed.next(step, model).fields()[name], tensor), name
    with pytest.raises(Refused, match="the rollout that this step learns from is gone"):
        make(folder="other").next(1, model)
    with pytest.raises(Refused):
        make(parts=3).resume(source.state())


def test_rollouts_that_no_checkpoint_needs_are_removed(
    make: Make, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = actor_critic(tokenizer)
    source = make(oldest_step=lambda: 4, epochs=1)
    for step in range(0, 8, 2):
        source.next(step, model)
    kept = sorted(path.name for path in (tmp_path / "rollouts").glob("*.safetensors"))
    assert kept == ["rollout-000002.safetensors", "rollout-000003.safetensors"]


def test_ppo_6_beta_follows_nats_a_sequence() -> None:
    control = KLControl(0.2, target=6.0, horizon=10_000)
    assert control.after(0.2, 6.0, 512) == pytest.approx(0.2)
    assert control.after(0.2, 12.0, 512) == pytest.approx(0.2 * (1 + 0.2 * 512 / 10_000))
    assert control.after(0.2, 6.6, 512) == pytest.approx(0.2 * (1 + 0.1 * 512 / 10_000))
    assert control.after(0.2, 0.0, 512) == pytest.approx(0.2 * (1 - 0.2 * 512 / 10_000))
    assert KLControl(0.2).after(0.2, 100.0, 512) == 0.2


def test_ppo_6_a_controlled_beta_goes_on_after_a_resume(make: Make, tokenizer: Tokenizer) -> None:
    model, figures = actor_critic(tokenizer), []
    reference = make_model(tokenizer, seed=5)

    def controlled() -> PPORollouts:
        source = make(
            reference, epochs=1, parts=1, record=lambda step, r, w, found: figures.append(found["beta"])
        )
        source.control = KLControl(0.1, target=0.01, horizon=10)
        return source

    first = controlled()
    for step in range(3):
        first.next(step, model)
    assert figures[0] == 0.1 and figures[0] < figures[1] < figures[2]
    controlled().next(2, model)
    assert figures[3] == figures[2]


def test_ppo_4_padding_changes_nothing(make: Make, tokenizer: Tokenizer) -> None:
    model = actor_critic(tokenizer)
    batch = make().next(0, model)
    longer = {
        name: torch.nn.functional.pad(tensor, (0, 7), value=-1 if name == "segments" else 0)
        for name, tensor in batch.fields().items()
    }
    padded = Batch(
        **{name: longer[name] for name in ("tokens", "positions", "segments", "targets", "weights")},
        extra={name: longer[name] for name in batch.extra},
    )
    one, two = (ClippedPolicyAndValue()(model, b) for b in (batch, padded))
    assert torch.isclose(one.total, two.total, rtol=1e-5) and one.weight == two.weight
    for name in one.metrics:
        assert torch.isclose(one.metrics[name], two.metrics[name], atol=1e-4), name


def test_the_losses_equal_a_loop_over_tokens(make: Make, tokenizer: Tokenizer) -> None:
    model = actor_critic(tokenizer).double()
    batch = make().next(0, actor_critic(tokenizer))
    generator = torch.Generator().manual_seed(0)
    for name in batch.extra:  # a policy that has moved, so that both clips bind
        batch.extra[name] = batch.extra[name].double()
        noise = torch.rand(batch.weights.shape, generator=generator, dtype=torch.float64) - 0.5
        batch.extra[name] += noise * (batch.weights != 0)
    logprobs = torch.log_softmax(model.policy(batch.tokens, batch.positions, batch.segments), -1)
    logprobs = logprobs.gather(2, batch.targets[..., None])[..., 0]
    values = model.critic(batch.tokens, batch.positions, batch.segments)[..., 0]
    total = torch.zeros((), dtype=torch.float64)
    for r, t in (batch.weights != 0).nonzero().tolist():
        a, old, before, back = (float(batch.extra[n][r, t]) for n in (ADVANTAGES, OLD, VALUES, RETURNS))
        ratio = (logprobs[r, t] - old).exp()
        total = total + torch.maximum(-a * ratio, -a * ratio.clamp(0.8, 1.2))
        near = before + (values[r, t] - before).clamp(-0.2, 0.2)
        total = total + 0.1 * 0.5 * torch.maximum((values[r, t] - back) ** 2, (near - back) ** 2)
    loss = ClippedPolicyAndValue(0.2, 0.2, 0.1)(model, batch)
    assert torch.isclose(loss.total, total, rtol=1e-5) and float(loss.metrics["clipped"]) > 0


class Text:
    def next(self, step: int, model: object = None) -> Batch:
        columns = torch.arange(48)[None]
        tokens = (columns * 7) % 200 + 20
        return Batch(tokens, columns, torch.zeros_like(columns), tokens.roll(-1), torch.ones(1, 48))

    def state(self) -> dict[str, int | float | str]:
        return {"source": "text"}

    def resume(self, state: object) -> None:
        pass


def test_text_beside_the_rewards_adds_its_cross_entropy_and_no_weight(
    make: Make, tokenizer: Tokenizer
) -> None:
    model = actor_critic(tokenizer)
    plain, mixed = make().next(0, model), make(ptx=Text(), ptx_weight=0.5, folder="b").next(0, model)
    assert len(mixed) == len(plain) + 1 and float(mixed.extra[PTX].sum()) == 24
    one, two = (ClippedPolicyAndValue()(model, batch) for batch in (plain, mixed))
    text = Text().next(0)
    nats = torch.nn.functional.cross_entropy(model.policy(text.tokens)[0], text.targets[0], reduction="sum")
    assert one.weight == two.weight
    assert torch.isclose(two.total - one.total, 0.5 * nats, rtol=1e-4)


def test_the_stage_raises_the_reward_it_is_given(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    save_model(yes_or_no(tokenizer), tmp_path / "tokenizer", tmp_path / "model")
    write_jsonl(tmp_path / "examples" / "prompts.jsonl", items(12))
    config = PPOConfig(
        model="m", examples="e", steps=60, prompts=32, max_new=4, length=48, beta=0.0, epochs=2, parts=1,
        optimizer={"lr": 0.02, "lr_embedding": 0.01},
    )  # fmt: skip
    run(config, {"model": tmp_path / "model", "examples": tmp_path / "examples"}, workspace)
    lines = [json.loads(line) for line in (workspace.path / "metrics.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in lines if "reward" in line]
    assert len(rewards) == 30 and sum(rewards[:3]) / 3 < 0.75 and sum(rewards[-3:]) / 3 > 0.95
    assert load_model(workspace.path).config == load_model(tmp_path / "model").config


def test_steps_are_whole_rollouts() -> None:
    with pytest.raises(ConfigError, match=r"no whole number of rollouts, each of which takes 4; give 8"):
        validate(
            PPOConfig, {"model": "m", "examples": "e", "steps": 10, "epochs": 2, "parts": 2}, where="ppo"
        )
    assert Unended(Verified(), 1.0).name == "correct"
