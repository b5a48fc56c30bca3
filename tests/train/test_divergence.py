"""What a run does when it diverges: back to the last good checkpoint once, with half the learning rates."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from tiny_runs import (
    CLIFF_STEPS,
    EDGE,
    CountingRows,
    cliff,
    metrics,
    start_processes,
    tiny_decoder,
    walk,
    walk_or_die,
    workspace_at,
)

from exnihilo.core.errors import Diverged, Interrupted, NotFinite
from exnihilo.objectives.causal import causal
from exnihilo.objectives.loss import Loss
from exnihilo.train.checkpoint import complete, load_checkpoint
from exnihilo.train.config import FitConfig
from exnihilo.train.fit import fit
from exnihilo.train.prefetch import Prefetch

REASON = "loss or gradient was not finite in 5 steps in a row"


def weights_of(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def checkpoints(folder: Path) -> list[int]:
    found = complete(folder / "stage.partial/checkpoints")
    return sorted(int(path.name.removeprefix("step-")) for path in found)


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A run that went over the cliff at step 8, came back to step 4 and ended well; its folder and weights."""
    folder = tmp_path_factory.mktemp("recovered")
    model = tiny_decoder()
    result = walk(folder, model=model)
    assert result.counters.rollback == {"step": 13, "to": 4, "rate": 0.5, "reason": REASON}
    return folder, weights_of(model)


def test_train_3_a_divergence_goes_back_once_with_half_the_rates_over_the_same_batches(
    recovered: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    """To the bit the run that was stopped after step 4 and went on with half the learning rates."""
    folder, weights = recovered
    with pytest.raises(Interrupted):
        walk(tmp_path, stop_after=4)
    assert checkpoints(tmp_path)[-1] == 4
    model = tiny_decoder(seed=5)
    walk(tmp_path, share=0.5, model=model)
    assert torch.equal(weights_of(model), weights)

    lines = metrics(workspace_at(folder))
    assert [line["step"] for line in lines] == list(range(1, CLIFF_STEPS + 1))  # those it left are gone
    kept = ("loss", "grad_norm", "lr", "tokens", "ema")
    for ours, theirs in zip(lines, metrics(workspace_at(tmp_path)), strict=True):
        assert [ours[key] for key in kept] == [theirs[key] for key in kept]
    assert lines[4]["lr"] == pytest.approx(0.5 * 0.02 * (10 / 13), rel=1e-12)
    assert lines[-1]["tokens"] == CLIFF_STEPS * 48


def test_a_rollback_is_told_counted_and_shown_at_the_end(tmp_path: Path) -> None:
    work = workspace_at(tmp_path)
    source = CountingRows()
    settings = {"lr": 0.02, "lr_embedding": 0.01}
    config = FitConfig.model_validate(
        {"steps": CLIFF_STEPS, "checkpoint_every": 4, "clip": None, "optimizer": settings}
    )
    with Prefetch(source) as ahead:
        result = fit(tiny_decoder(), cliff, ahead, config, work)
    (told,) = events(tmp_path, "rolled_back")
    assert told["message"] == f"step 13: {REASON}; going back to step 4, learning rates × 0.5"
    assert (told["step"], told["to"], told["rate"]) == (13, 4, 0.5)
    summary = result.summary()
    assert summary["rollback"]["to"] == 4 and summary["skipped"] == 0  # the skipped steps were taken again
    assert work.lines == ["diverged at step 13 and went back to step 4: learning rates × 0.5 from there"]
    json.dumps(summary, allow_nan=False)


def test_train_6_killed_anywhere_in_a_rollback_it_ends_with_the_same_weights(
    recovered: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    """kill -9 before every seventh change of the file system from the fall on: while later checkpoints are removed,
    records cut, the checkpoint amended, and in the steps that follow. Run again, it ends as if nothing had been."""
    folder, _ = recovered
    expected = load_checkpoint(folder / f"stage.partial/checkpoints/step-{CLIFF_STEPS:08d}")
    for at in range(0, 40, 7):
        run = tmp_path / str(at)
        assert start_processes(1, walk_or_die, run, at) == [-signal.SIGKILL]
        result = walk(run)
        assert result.counters.rollback is not None and result.counters.rollback["to"] == 4
        found = load_checkpoint(run / f"stage.partial/checkpoints/step-{CLIFF_STEPS:08d}")
        for key, tensor in (expected.parameters | expected.optimizer).items():
            assert torch.equal((found.parameters | found.optimizer)[key], tensor), (at, key)
        assert found.state["counters"] == expected.state["counters"]
        assert [line["step"] for line in metrics(workspace_at(run))] == list(range(1, CLIFF_STEPS + 1))


def test_before_the_first_checkpoint_it_begins_again_with_half_the_rates(tmp_path: Path) -> None:
    """To the bit a run that had them from the start: nothing stays of the moments that led over the cliff."""
    again, straight = tiny_decoder(), tiny_decoder()
    result = walk(tmp_path / "again", checkpoint_every=0, model=again)
    assert result.counters.rollback is not None and result.counters.rollback["to"] == 0
    walk(tmp_path / "straight", checkpoint_every=0, model=straight, share=0.5)
    assert torch.equal(weights_of(again), weights_of(straight))


def test_a_checkpoint_saved_beyond_the_cliff_is_not_gone_back_to(tmp_path: Path) -> None:
    """The eighth step leads over the edge with a loss that is finite still: its checkpoint looks sound, and is not."""
    with pytest.raises(Diverged) as error:
        walk(tmp_path, checkpoint_every=1, keep=1)
    (told,) = events(tmp_path, "rolled_back")
    assert told["to"] == 7
    assert "again after going back to step 7 with learning rates × 0.5" in str(error.value)
    last = complete(tmp_path / "stage.partial/checkpoints")[0]
    kept = load_checkpoint(last)
    assert kept.parameters["norm.weight"].mean() < EDGE
    assert f"(the checkpoint of step {kept.step} is kept)" in str(error.value)


def test_a_rate_far_too_high_goes_back_once_and_then_ends_with_code_5(tmp_path: Path) -> None:
    """At a learning rate of 1e30 the first step ruins the model, and so does half of that. What is left is the
    checkpoint of the beginning, and the same command ends in the same way."""
    config = FitConfig.model_validate(
        {"steps": 40, "checkpoint_every": 2, "optimizer": {"name": "adamw", "lr": 1e30, "lr_embedding": 1e30}}
    )
    for _ in range(2):
        with pytest.raises(Diverged) as error:
            fit(tiny_decoder(), causal, CountingRows(), config, workspace_at(tmp_path))
        assert error.value.exit_code == 5 and "\n" not in str(error.value)
        assert "again after going back to step 0 with learning rates × 0.5; lower optimizer.lr" in str(
            error.value
        )
        assert checkpoints(tmp_path) == [0]
    untouched = load_checkpoint(tmp_path / "stage.partial/checkpoints/step-00000000").parameters
    for name, parameter in tiny_decoder().named_parameters():
        assert torch.equal(untouched[name], parameter)
    assert len(events(tmp_path, "rolled_back")) == 1  # the second command knows of it


def test_a_model_that_is_broken_from_the_start_is_not_tried_again(tmp_path: Path) -> None:
    model = tiny_decoder()
    with torch.no_grad():
        model.embedding.weight[3] = float("nan")
    with pytest.raises(Diverged, match=r"step 5: .* no good checkpoint is there to go back to"):
        fit(model, causal, CountingRows(rows=32), FitConfig(steps=40), workspace_at(tmp_path))


def test_a_good_checkpoint_that_is_no_longer_there_is_forgotten(tmp_path: Path) -> None:
    """The latest checkpoint is broken; the one before names as good one that has been removed since."""
    with pytest.raises(Interrupted):
        walk(tmp_path, checkpoint_every=2, stop_after=6)
    assert checkpoints(tmp_path) == [4, 6]
    folder = tmp_path / "stage.partial/checkpoints"
    (folder / "step-00000006/model.safetensors").write_bytes(b"")
    assert load_checkpoint(folder / "step-00000004").state["good"] == 2

    def spoiled(model: Any, batch: Any) -> Loss:
        return Loss(causal(model, batch).total * float("nan"), batch.weights.sum())

    model, config = tiny_decoder(), FitConfig(steps=CLIFF_STEPS, clip=None)
    with pytest.raises(Diverged, match="no good checkpoint is there to go back to"):
        fit(model, spoiled, CountingRows(), config, workspace_at(tmp_path))


def test_validation_and_samples_of_a_broken_model_do_not_end_the_run(tmp_path: Path) -> None:
    """They come due beyond the cliff, at step 8: a validation that is not finite is none, and never the best."""
    work, model = workspace_at(tmp_path), tiny_decoder()
    sampled: list[int] = []

    def validate() -> dict[str, float]:
        beyond = bool(model.norm.weight.mean() > EDGE)
        return {"loss": float("nan") if beyond else 10.0 - model.norm.weight.mean().item()}

    def sample(step: int) -> None:
        if model.norm.weight.mean() > EDGE:
            raise NotFinite("the model's logits are not finite")
        sampled.append(step)

    config = FitConfig.model_validate(
        {
            "steps": CLIFF_STEPS,
            "checkpoint_every": 4,
            "validate_every": 4,
            "sample_every": 4,
            "clip": None,
            "optimizer": {"lr": 0.02, "lr_embedding": 0.01},
        }
    )
    result = fit(model, cliff, CountingRows(), config, work, validate=validate, sample=sample)
    assert result.counters.rollback is not None and result.counters.rollback["to"] == 4
    assert len(events(tmp_path, "not_sampled")) == 2  # at steps 8 and 12 of the first try
    assert sampled == [4, 8, 12, 14]
    assert result.counters.best is not None and result.counters.best["step"] == CLIFF_STEPS
    validations = [line for line in metrics(work) if "validation_loss" in line]
    assert [line["step"] for line in validations] == [4, 8, 12, 14]
    assert all(line["validation_loss"] is not None for line in validations)


def test_a_source_that_cannot_generate_is_a_step_that_is_not_finite(tmp_path: Path) -> None:
    """As in reinforcement learning, whose batches the model makes."""
    model = tiny_decoder()

    class Rollouts(CountingRows):
        def next(self, step: int, model: Any = None) -> Any:
            if model.norm.weight.mean() > EDGE:
                raise NotFinite("the model's logits are not finite")
            return super().next(step)

    settings = {"lr": 0.02, "lr_embedding": 0.01}
    config = FitConfig.model_validate(
        {"steps": CLIFF_STEPS, "checkpoint_every": 4, "clip": None, "optimizer": settings}
    )
    result = fit(model, cliff, Rollouts(), config, workspace_at(tmp_path))
    assert result.counters.rollback == {"step": 13, "to": 4, "rate": 0.5, "reason": REASON}
    told = [event["message"] for event in events(tmp_path, "skipped")]
    assert told[0] == "step 9: skipped, not finite: the model's logits are not finite" and len(told) == 5


def test_a_run_whose_last_steps_are_not_finite_goes_back_as_well(tmp_path: Path) -> None:
    """Two of nine steps lie beyond the cliff: too few to count as five, and no later step would tell."""
    result = walk(tmp_path, steps=9, schedule={"kind": "constant"})
    back = result.counters.rollback
    assert back is not None and (back["step"], back["to"]) == (9, 4)
    assert back["reason"] == "loss or gradient was not finite in the last 2 steps"


def test_a_last_step_that_makes_the_weights_infinite_is_a_divergence(tmp_path: Path) -> None:
    config = FitConfig.model_validate(
        {"steps": 1, "optimizer": {"name": "adamw", "lr": 1e39, "lr_embedding": 1e39}}
    )
    with pytest.raises(
        Diverged, match="step 1: the weights were not finite after the last step, again after"
    ):
        fit(tiny_decoder(), causal, CountingRows(), config, workspace_at(tmp_path))
    assert checkpoints(tmp_path) == [0]


def in_two(rank: int, folder: Path, size: int) -> None:
    dist.init_process_group("gloo", rank=rank, world_size=size, init_method=f"file://{folder}/rendezvous")
    try:
        walk(folder / "run", model=tiny_decoder().double())
    finally:
        dist.destroy_process_group()


def test_train_7_two_processes_go_back_together(tmp_path: Path) -> None:
    """Each process has half of the rows; both end with the weights of one process."""
    walk(tmp_path / "one", model=tiny_decoder().double())
    assert start_processes(2, in_two, tmp_path, 2) == [0, 0]
    name = f"stage.partial/checkpoints/step-{CLIFF_STEPS:08d}/model.safetensors"
    one, two = load_file(tmp_path / "one" / name), load_file(tmp_path / "run" / name)
    assert all((one[key] - two[key]).abs().max() < 1e-10 for key in one)
    assert len(events(tmp_path / "run", "rolled_back")) == 1
