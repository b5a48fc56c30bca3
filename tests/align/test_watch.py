"""Over-optimisation: the stop fires where it was planted and nowhere else, and gold is watched and never read."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from exnihilo.align.grpo import GrpoConfig, grpo
from exnihilo.align.ppo import PPOConfig, run
from exnihilo.align.watch import Window, verdict, windows
from exnihilo.core.errors import Interrupted
from exnihilo.core.files import file_hash
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.scorer import Scorer
from exnihilo.model.scorer_folder import Scale, save_scorer
from exnihilo.tokenizer.bpe import train_tokenizer
from random_rollouts import items, yes_or_no
from stopped_runs import workspace_until

STEPS = 18


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that says Yes or No, a reward model that tells them apart, and one that thinks the contrary."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)
    tokenizer.save(folder / "tokenizer")
    policy = yes_or_no(tokenizer)
    save_model(policy, folder / "tokenizer", folder / "model")
    write_jsonl(folder / "examples" / "prompts.jsonl", items(20))
    torch.manual_seed(2)
    judge = Scorer(policy)
    for name, sign in (("liked", 1.0), ("disliked", -1.0), ("other", 0.5)):
        with torch.no_grad():
            judge.output.weight.mul_(sign)
        save_scorer(judge, tokenizer, Scale(("reward",), (0.0,), (0.1,)), folder / name)
        with torch.no_grad():
            judge.output.weight.div_(sign)
    return folder


Train = Callable[..., Workspace]


@pytest.fixture
def train(world: Path, tmp_path: Path) -> Train:
    def ppo(
        out: str, inputs: dict[str, str], *, stop_at: int | None = None, lr: float = 0.02, **watch: Any
    ) -> Workspace:
        work = workspace_until(tmp_path / out, stop_at)
        config = PPOConfig(
            model="m", examples="e", reward="r", force_reward=True, steps=STEPS, parts=1, prompts=24, max_new=4,
            length=48, beta=0.0, log_every=1, keep=1, watch=watch,
            optimizer={"lr": lr, "lr_embedding": lr},
        )  # fmt: skip
        given = {"model": "model", "examples": "examples", "reward": "liked"}
        found: dict[str, Any] = {field: world / name for field, name in given.items()}
        found |= {
            field: {name: world / name} if field == "second" else world / name
            for field, name in inputs.items()
        }
        run(config, found, work)
        return work

    return ppo


def lines(work: Workspace) -> list[dict[str, Any]]:
    return [line for _, line in read_jsonl(work.path / "metrics.jsonl") if "reward" in line]


def test_a_planted_over_optimisation_is_stopped_and_its_best_weights_are_saved(train: Train) -> None:
    work = train("out", {"second": "disliked"}, every=2)
    assert lines(work)[-1]["reward"] > lines(work)[0]["reward"] + 0.1
    stopped = work.summary["stopped"]
    assert stopped["step"] < STEPS and stopped["back_to"] < stopped["step"] == work.summary["steps"]
    kept = work.checkpoints / f"step-{stopped['back_to']:08d}" / "model.safetensors"
    best = load_file(kept)  # though keep = 1
    saved = load_model(work.path).state_dict()
    assert all(
        torch.equal(saved[name], best[f"policy.{name}"])
        for name, _ in load_model(work.path).named_parameters()
    )
    unstopped = train("on", {"second": "disliked"}, every=2, stop=False)
    assert unstopped.summary.get("stopped") is None and unstopped.summary["steps"] == STEPS
    assert any("a second one" in line for line in work.lines)


def test_a_stop_is_the_same_after_a_resume(train: Train) -> None:
    straight = train("straight", {"second": "disliked"}, every=2)
    with pytest.raises(Interrupted):
        train("broken", {"second": "disliked"}, every=2, stop_at=3)
    with pytest.raises(Interrupted):  # after the stop was decided, before anything was saved
        train("broken", {"second": "disliked"}, every=2, stop_at=straight.summary["stopped"]["step"])
    broken = train("broken", {"second": "disliked"}, every=2)
    assert broken.summary["stopped"] == straight.summary["stopped"]
    assert file_hash(broken.path / "model.safetensors") == file_hash(straight.path / "model.safetensors")


def test_a_healthy_run_is_not_stopped(train: Train) -> None:
    """It still learns at its end."""
    work = train("out", {"second": "other"}, every=2, lr=0.003)
    assert work.summary.get("stopped") is None and work.summary["steps"] == STEPS
    assert lines(work)[-1]["second"] > lines(work)[0]["second"]


def test_gold_is_recorded_and_changes_no_weight(train: Train) -> None:
    hashes = {}
    for gold in ("disliked", "other", None):
        work = train(str(gold), {"second": "other"} | ({"gold": gold} if gold else {}), every=2)
        hashes[gold] = file_hash(work.path / "model.safetensors")
        recorded = [line["gold"] for line in lines(work)]
        assert len(recorded) == len(lines(work)), "without a key, the questions' verifiers are gold"
    assert len(set(hashes.values())) == 1
    shown = {name for line in lines(work) for name in line}
    assert {"reward", "second", "gold", "kl_per_sequence", "response_length"} <= shown


def test_grpo_is_watched_too(world: Path, workspace: Workspace) -> None:
    config = GrpoConfig(
        model="m", examples="e", steps=4, prompts=6, group=4, max_new=4, length=48, log_every=1
    )
    inputs: dict[str, Any] = {name: world / name for name in ("model", "examples")}
    grpo(config, inputs | {"gold": world / "liked", "second": {"a": world / "disliked"}}, workspace)
    assert all({"gold", "second", "kl_per_sequence"} <= line.keys() for line in lines(workspace))


def curve(second: list[float], *, error: float = 0.1, seed: int = 0) -> list[Window]:
    drawn = random.Random(seed)
    return [
        Window(4 * i, one + drawn.gauss(0, error), error, 0.1 * i, 0.1 * i) for i, one in enumerate(second)
    ]


def ends(second: list[float], seed: int, error: float = 0.05) -> tuple[int, int] | None:
    """At which look the rule stops, judged at every look as it happens, and to which window it goes back."""
    seen = curve(second, seed=seed, error=error)
    for i in range(1, len(seen) + 1):
        found = verdict(seen[:i], 0.05)
        if found and found.stop:
            return i, found.best // 4
    return None


def test_what_rises_is_not_stopped_and_what_turns_is() -> None:
    rising = [i / 10 for i in range(20)]
    assert not any(ends(rising, seed) for seed in range(100))
    turning = [1 - abs(i - 8) / 8 for i in range(20)]
    for seed in range(100):
        found = ends(turning, seed)
        assert found is not None and 14 <= found[0] <= 17 and abs(found[1] - 8) <= 2


def test_a_dip_of_five_looks_is_waited_for() -> None:
    """As in a world whose gold reward went from 0.7 to 0.5 and on to 1.4, with 1.6 of the second one after 0.3."""
    dip = [-0.7, -0.2, 0.3, 0.2, 0.05, -0.2, -0.25, 0.1, 0.8, 1.3, 1.6]
    assert not any(ends([*dip, *[1.6] * 3], seed) for seed in range(100))
    assert all(ends([*dip, *[1.6 - i / 5 for i in range(1, 9)]], seed) for seed in range(100))


def test_a_plateau_is_left_at_its_beginning() -> None:
    """The gold reward may have turned while the second one stands still."""
    plateau = [min(i / 5, 1.0) for i in range(20)]
    found = [ends(plateau, seed) for seed in range(100)]
    assert sum(one is not None for one in found) > 90
    assert all(one[1] >= 4 for one in found if one) and sum(one[1] <= 8 for one in found if one) > 75


def test_a_second_reward_that_shares_the_mistakes_is_stopped_by_what_the_distance_costs() -> None:
    """It rises ever more slowly, and the policy goes ever faster."""
    seen = [Window(i, 1 - 0.5**i, 0.02, 1.0 * i, 0.2 * i * i) for i in range(12)]
    assert (found := verdict(seen, 0.05)) is not None and found.stop and found.best in (3, 4)
    assert (found := verdict(seen[:7], 0.0)) is not None and found.stop is None


def test_a_window_judges_the_checkpoint_at_its_beginning() -> None:
    records = [
        {"step": step, "reward": 1.0, "second": float(step), "second_error": 0.3} for step in (1, 3, 5, 7, 9)
    ]
    found = windows([{"step": 1, "loss": 0.0}, *records], 4, 8)
    assert [(one.start, one.second) for one in found] == [(0, 2.0), (4, 6.0)]
    assert found[0].error == pytest.approx(0.3 / 2**0.5)
