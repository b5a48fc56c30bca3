"""Rollouts: groups stay whole, ids are never re-encoded, and a rollout follows from seed and step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.grpo import GrpoConfig, _anchor, grpo
from exnihilo.align.rollouts import Rollouts
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.files import write_json
from exnihilo.core.jsonl import write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import Scale, save_scorer
from exnihilo.objectives.policy import ADVANTAGES, ANCHOR, PolicyGradient
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import PREFIX, Batch
from random_rollouts import by_length, items, make_model, rollouts, yes_or_no

TEXT = "What is one plus one? It is two. Yes. No. " * 4


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT], 280)


Make = Callable[..., Rollouts]


@pytest.fixture
def make(tokenizer: Tokenizer) -> Make:
    def build(n: int = 5, reward: Any = by_length, **changes: Any) -> Rollouts:
        return rollouts(tokenizer, make_model(tokenizer), reward, n, **changes)

    return build


def segments(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """(ids with their last target, indices that are trained) of each packed response."""
    found = []
    prefixes = batch.extra.get(PREFIX, torch.zeros_like(batch.segments))
    for r in range(len(batch)):
        for segment in batch.segments[r].unique().tolist():
            here = (batch.segments[r] == segment).nonzero()[:, 0]
            if segment < 0 or not batch.weights[r, here].any():  # padding, or a prompt that answers share
                continue
            shared = batch.tokens[r, batch.segments[r] == prefixes[r, here[0]] - 1].tolist()
            shared = shared if prefixes[r, here[0]] else []
            ids = [*shared, *batch.tokens[r, here].tolist(), int(batch.targets[r, here[-1]])]
            found.append((ids, [len(shared) + i for i in batch.weights[r, here].nonzero()[:, 0].tolist()]))
    return found


def test_grpo_1_a_cut_off_answer_keeps_its_place_in_the_group(make: Make, tokenizer: Tokenizer) -> None:
    source = make()
    responses = source.sampler.sample(0, make_model(tokenizer))
    finishes = Counter(r.generation.finish for r in responses)
    assert len(responses) == 24 and finishes["length"] > 0 and finishes["stop"] > 0
    for start in range(0, 24, 6):
        assert len({r.item["id"] for r in responses[start : start + 6]}) == 1


def test_grpo_7_seventeen_prompts_in_batches_of_eight_are_all_used(make: Make, tokenizer: Tokenizer) -> None:
    source = make(n=17, prompts=8, group=2)
    model = make_model(tokenizer)
    seen = [r.item["id"] for step in range(17) for r in source.sampler.sample(step, model)[::2]]
    assert len(seen) == 8 * 17
    for epoch in range(8):
        assert sorted(seen[17 * epoch : 17 * epoch + 17], key=int) == [str(i) for i in range(17)]


def test_ppo_10_sampled_ids_are_trained_as_they_are_the_end_token_among_them(
    make: Make, tokenizer: Tokenizer
) -> None:
    source = make()
    model = make_model(tokenizer)
    responses = source.sampler.sample(0, model)
    expected = {}
    for response in responses:
        prompt = Renderer(tokenizer).prompt(response.item["messages"])
        ids = prompt + response.generation.ids
        expected[tuple(ids)] = list(range(len(prompt) - 1, len(ids) - 1))
        if response.generation.finish == "stop":
            assert ids[-1] in (tokenizer.end, tokenizer.eos)
    found = segments(source.next(0, model))
    assert found
    for ids, trained in found:
        assert expected[tuple(ids)] == trained


def test_ppo_1_the_first_ratio_is_one_and_the_kl_to_the_start_zero(make: Make, tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    batch = make().next(0, model)
    loss = PolicyGradient(beta=0.1)(model, batch)
    assert (loss.metrics["sampler_gap"] / loss.weight).item() < 1e-5
    assert abs((loss.metrics["kl"] / loss.weight).item()) < 1e-6
    assert loss.metrics["clipped"].item() == 0


def test_ppo_8_sampler_and_trainer_agree_at_another_temperature(make: Make, tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    batch = make(temperature=0.7).next(0, model)
    loss = PolicyGradient(beta=0.0)(model, batch)
    assert (loss.metrics["sampler_gap"] / loss.weight).item() < 1e-4


def test_a_rollout_follows_from_seed_and_step_and_weights(make: Make, tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    first, again, other = make().next(2, model), make().next(2, model), make(seed=4).next(2, model)
    for name, tensor in first.fields().items():
        assert torch.equal(tensor, again.fields()[name]), name
    assert first.tokens.shape != other.tokens.shape or not torch.equal(first.tokens, other.tokens)


def test_equal_rewards_leave_the_batch_and_no_reward_is_not_zero(make: Make, tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    figures: list[dict[str, float]] = []

    def keep(step: int, responses: object, rewards: object, found: dict[str, float]) -> None:
        figures.append(found)

    for reward in (lambda item, text: 1.0, lambda item, text: None):
        batch = make(reward=reward, record=keep).next(0, model)
        assert batch.weights.sum() == 0 and batch.tokens.shape == (1, 48)
    assert figures[0]["reward"] == 1.0 and figures[0]["flat"] == 1.0 and figures[0]["unscorable"] == 0.0
    assert figures[1]["unscorable"] == 1.0


def test_grpo_2_a_verifier_that_fails_on_one_answer_changes_nothing_for_the_others(
    make: Make, tokenizer: Tokenizer
) -> None:
    model = make_model(tokenizer)
    responses = make().sampler.sample(0, model)
    broken = responses[0].text

    def sometimes(item: dict[str, Any], text: str) -> float | None:
        return None if item["id"] == responses[0].item["id"] and text == broken else by_length(item, text)

    whole, part = make().next(0, model), make(reward=sometimes).next(0, model)
    others = {tuple(responses[i].prompt) for i in range(6, 24)}

    def advantages(batch: Batch) -> Counter[tuple[int, ...]]:
        found: Counter[tuple[int, ...]] = Counter()
        for r in range(len(batch)):
            for segment in batch.segments[r].unique().tolist():
                here = batch.segments[r] == segment
                prompt = next(
                    (p for p in others if batch.tokens[r, here].tolist()[: len(p)] == list(p)), None
                )
                if prompt:
                    found[(*prompt, round(1e4 * batch.extra[ADVANTAGES][r, here].sum().item()))] += 1
        return found

    assert advantages(whole) == advantages(part)


def test_too_long_or_no_prompts_are_refused(make: Make) -> None:
    with pytest.raises(Refused, match="do not fit rows of 12"):
        make(length=12)
    with pytest.raises(Refused, match="no prompts to sample answers to"):
        make(n=0)


def test_the_stage_raises_the_reward_it_is_given(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    """From a model that says Yes and No at random to one that says Yes: the whole stage, on its own files."""
    tokenizer.save(tmp_path / "tokenizer")
    save_model(yes_or_no(tokenizer), tmp_path / "tokenizer", tmp_path / "model")
    write_jsonl(tmp_path / "examples" / "prompts.jsonl", items(12))
    config = GrpoConfig(
        model="m", examples="e", steps=25, prompts=4, group=8, max_new=4, length=48, beta=0.0,
        optimizer={"lr": 0.02, "lr_embedding": 0.01},
    )  # fmt: skip
    grpo(config, {"model": tmp_path / "model", "examples": tmp_path / "examples"}, workspace)
    rewards = [line["reward"] for line in _metrics(workspace) if "reward" in line]
    assert len(rewards) == 25 and sum(rewards[:3]) / 3 < 0.75 and sum(rewards[-3:]) / 3 > 0.95
    assert load_model(workspace.path).config == load_model(tmp_path / "model").config
    with pytest.raises(ConfigError, match=r"no prompts of \['g'\]"):
        changed = config.model_copy(update={"families": ["g"]})
        grpo(changed, {"model": tmp_path / "model", "examples": tmp_path / "examples"}, workspace)


def test_the_stage_learns_from_a_reward_model_where_questions_have_no_verifier(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    """One that scores by the first token of `Yes`: an answer that has it rises."""
    tokenizer.save(tmp_path / "tokenizer")
    policy = yes_or_no(tokenizer)
    save_model(policy, tmp_path / "tokenizer", tmp_path / "model")
    asked = [{"messages": item["messages"]} for item in items(12)]
    write_jsonl(tmp_path / "examples" / "prompts.jsonl", asked)
    judge = Scorer(policy)
    renderer = Renderer(tokenizer)
    ends = []
    with torch.no_grad():
        for answer in ("Yes", "No"):
            ids = renderer.render([*asked[0]["messages"], {"role": "assistant", "content": answer}]).ids
            tokens = torch.tensor([ids[: len(ids) - ids[::-1].index(tokenizer.end)]])
            ends.append(policy.hidden(tokens)[0, -1])
        judge.output.weight.copy_((ends[0] - ends[1])[None])
    folder = tmp_path / "reward"
    save_scorer(judge, tokenizer, Scale.plain(("reward",)), folder)
    write_json(folder / "card.json", {"passed": False, "verdict": "never tried"})
    config = GrpoConfig(
        model="m", examples="e", reward="r", steps=25, prompts=4, group=8, max_new=4, length=48, beta=0.0,
        scale=False, optimizer={"lr": 0.02, "lr_embedding": 0.01},
    )  # fmt: skip
    inputs = {"model": tmp_path / "model", "examples": tmp_path / "examples", "reward": folder}
    with pytest.raises(Refused, match="not fit to be maximised: never tried"):
        grpo(config, inputs, workspace)
    grpo(config.model_copy(update={"force_reward": True}), inputs, workspace)
    rewards = [line["reward"] for line in _metrics(workspace) if "reward" in line]
    assert len(rewards) == 25 and sum(rewards[-3:]) > sum(rewards[:3])


def _metrics(workspace: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workspace.path / "metrics.jsonl").read_text().splitlines()]


def test_anchored_families_stay_and_need_demonstrations(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    model = make_model(tokenizer)
    save_model(model, tmp_path / "tokenizer", tmp_path / "model")
    examples = tmp_path / "examples"
    write_jsonl(examples / "prompts.jsonl", items(6))
    inputs = {"model": tmp_path / "model", "examples": examples}
    config = GrpoConfig(
        model="m", examples="e", steps=2, prompts=2, group=4, max_new=4, length=48, anchor=5.0
    )

    def demonstrations(family: str) -> list[dict[str, Any]]:
        answer = {"role": "assistant", "content": "No"}
        return [{"messages": [*item["messages"], answer], "meta": {"family": family}} for item in items(6)]

    write_jsonl(examples / "train.jsonl", demonstrations("f"))
    with pytest.raises(Refused, match="no demonstrations of other families"):
        grpo(config, inputs, workspace)
    write_jsonl(examples / "train.jsonl", demonstrations("g"))
    anchor = _anchor(config, examples, {"f"}, tokenizer, config.length, workspace)
    source = rollouts(tokenizer, model, n=6, anchor=anchor, anchor_weight=5.0)
    batch = source.next(0, model)
    held = batch.extra[ANCHOR] != 0
    assert held.any() and not (held & (batch.weights != 0)).any()
    assert set(batch.extra[ANCHOR][held].tolist()) == {5.0}
    assert (
        batch.targets[held].tolist().count(tokenizer.end) == int(held.sum()) // 2
    )  # "No" and the end of turn


def test_a_demonstration_too_long_for_a_row_anchors_with_all_of_its_answers(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    turn = [*items(1)[0]["messages"], {"role": "assistant", "content": "No"}]
    config = GrpoConfig(model="m", examples="e", steps=1, length=48, anchor=5.0, anchor_rows=1)
    assert len(Renderer(tokenizer).render(turn).ids) <= 48 < len(Renderer(tokenizer).render(turn * 6).ids)
    write_jsonl(tmp_path / "train.jsonl", [{"messages": turn * 6, "meta": {"family": "g"}}])
    anchor = _anchor(config, tmp_path, {"f"}, tokenizer, config.length, workspace)
    epoch = [anchor.next(step) for step in range(anchor.rows_per_epoch)]
    ends = sum(int(((row.targets == tokenizer.end) & (row.weights > 0)).sum()) for row in epoch)
    assert ends == 6
