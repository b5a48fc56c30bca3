from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import CountingRows, metrics, tiny_decoder, workspace_at

from exnihilo.core.errors import ConfigError, Diverged, Interrupted
from exnihilo.model.decoder import Decoder
from exnihilo.model.residual_dropout import ResidualDropout
from exnihilo.objectives.causal import causal
from exnihilo.objectives.loss import Loss
from exnihilo.objectives.perturbed import Perturbed
from exnihilo.tokens.batch import Batch, Source
from exnihilo.tokens.row_seeds import RowSeeds
from exnihilo.train.checkpoint import load_checkpoint
from exnihilo.train.config import FitConfig, ScheduleConfig
from exnihilo.train.fit import fit
from exnihilo.train.prefetch import Prefetch
from exnihilo.train.schedules import factor
from exnihilo.train.telemetry import Peak


class Spoiled(CountingRows):
    """CountingRows with what `spoil` says done to the batches of some steps."""

    def __init__(self, spoil: dict[int, Callable[[Batch], None]], **more: Any) -> None:
        super().__init__(**more)
        self.spoil = spoil

    def next(self, step: int, model: object = None) -> Batch:
        batch = super().next(step)
        self.spoil.get(step, lambda batch: None)(batch)
        return batch


def scaled(model: Any, batch: Batch) -> Loss:
    """Cross-entropy of which `extra["scale"]` multiplies value and gradient, but not the weight."""
    loss = causal(model, batch)
    scale = batch.extra["scale"].max() if batch.extra else 1.0
    return Loss(loss.total * scale, loss.weight)


def times(value: float) -> Callable[[Batch], None]:
    return lambda batch: batch.extra.update(scale=torch.full(batch.tokens.shape, value))


def no_weight(batch: Batch) -> None:
    batch.weights.zero_()


def weights_of(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_it_learns_and_records(tmp_path: Path) -> None:
    work = workspace_at(tmp_path)
    model = tiny_decoder()
    result = fit(model, causal, CountingRows(rows=8), FitConfig(steps=60, log_every=7), work)
    lines = metrics(work)
    assert [line["step"] for line in lines] == [1, 7, 14, 21, 28, 35, 42, 49, 56, 60]
    assert lines[0]["loss"] > 3.4 and lines[-1]["loss"] < 0.4 * lines[0]["loss"]
    assert lines[0]["ema"] == pytest.approx(lines[0]["loss"])  # train-2
    assert lines[-1]["tokens"] == 60 * 8 * 12 == result.counters.tokens
    assert lines[3]["lr"] == pytest.approx(0.02 * factor(ScheduleConfig(), 20, 60))
    assert all(line["tokens_per_second"] > 0 and line["mfu"] > 0 and line["grad_norm"] > 0 for line in lines)
    times = [line["time"] for line in lines]
    assert times == sorted(times) and times[-1] == pytest.approx(result.seconds)
    summary = result.summary()
    assert summary["steps"] == 60 and summary["tokens"] == 5760 and summary["skipped"] == 0
    # Every token of the two segments (4 and 8 long) attends to 2.5 and 4.5 keys on average.
    mean_keys = (4 * 2.5 + 8 * 4.5) / 12
    config = model.config
    head = config.vocab_size * config.width
    trained = sum(int((CountingRows(rows=8).next(s).weights != 0).sum()) for s in range(60))
    expected = 6 * (5760 * (config.multiplying_parameters - head) + trained * head)
    expected += 5760 * 12 * config.depth * config.attention_width * mean_keys
    assert summary["flops"] == pytest.approx(expected)


def test_same_run_twice_is_bit_identical_and_prefetch_changes_nothing(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b", "c"):
        model = tiny_decoder()
        with Prefetch(CountingRows()) as ahead:
            source = ahead if name == "c" else CountingRows()
            fit(model, causal, source, FitConfig(steps=8), workspace_at(tmp_path / name))
        found.append(weights_of(model))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_prefetch_hands_out_the_steps_asked_for_and_raises_where_the_source_does() -> None:
    def fail(batch: Batch) -> None:
        raise ConfigError("no more rows")

    source = Spoiled({3: fail})
    with Prefetch(source) as ahead:
        for step in (0, 1, 7, 2):
            assert torch.equal(ahead.next(step, None).tokens, CountingRows().next(step).tokens)
        with pytest.raises(ConfigError, match="no more rows"):
            ahead.next(3, None)
        assert ahead.state() == source.state()


SPIKELESS = FitConfig(steps=130, log_every=1, schedule=ScheduleConfig(kind="constant"), keep=9)


def spoilable(spoil: dict[int, Callable[[Batch], None]]) -> Spoiled:
    return Spoiled({**{step: times(1.0) for step in range(130)}, **spoil}, rows=2, length=6)


@pytest.fixture(scope="module")
def after_130_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 130 steps, enough for the guard to know what is usual."""
    folder = tmp_path_factory.mktemp("spikeless")
    fit(tiny_decoder(depth=1), scaled, spoilable({}), SPIKELESS, workspace_at(folder))
    return folder


@pytest.mark.parametrize("spoil", [times(float("nan")), times(float("inf")), times(100.0), no_weight])
def test_train_3_a_bad_step_leaves_weights_moments_and_counters_untouched(
    tmp_path: Path, after_130_steps: Path, spoil: Callable[[Batch], None]
) -> None:
    shutil.copytree(after_130_steps, tmp_path, dirs_exist_ok=True)
    model = tiny_decoder(depth=1)
    longer = SPIKELESS.model_copy(update={"steps": 131})
    result = fit(model, scaled, spoilable({130: spoil}), longer, workspace_at(tmp_path))
    folder = tmp_path / "stage.partial/checkpoints"
    before, after = (load_checkpoint(folder / f"step-{step:08d}") for step in (130, 131))
    for key, tensor in (before.parameters | before.optimizer).items():
        assert torch.equal(tensor, (after.parameters | after.optimizer)[key]), key
    for key in ("tokens", "flops"):
        assert before.state["counters"][key] == after.state["counters"][key]
    assert before.state["average"] == after.state["average"]
    assert before.state["guard"]["losses"] == after.state["guard"]["losses"]
    assert result.counters.skipped == 1
    assert [line["step"] for line in metrics(workspace_at(tmp_path))] == list(range(1, 131))
    skipped = [event for event in events(tmp_path) if event["event"] == "skipped"]
    assert len(skipped) == 1 and skipped[0]["step"] == 131


def test_a_good_step_after_130_is_taken(tmp_path: Path, after_130_steps: Path) -> None:
    shutil.copytree(after_130_steps, tmp_path, dirs_exist_ok=True)
    longer = SPIKELESS.model_copy(update={"steps": 131})
    result = fit(tiny_decoder(depth=1), scaled, spoilable({130: times(1.0)}), longer, workspace_at(tmp_path))
    assert result.counters.skipped == 0 and result.counters.tokens == 131 * 12


def test_train_3_repeated_nan_stops_with_its_own_exit_code(tmp_path: Path) -> None:
    source = Spoiled({step: times(float("nan")) for step in range(3, 20)})
    with pytest.raises(
        Diverged,
        match=r"step 8: loss or gradient was not finite in 5 steps in a row, again after going back to step 2",
    ) as error:
        fit(tiny_decoder(), scaled, source, FitConfig(steps=20), workspace_at(tmp_path))
    assert error.value.exit_code == 5


def test_validation_samples_and_checkpoints_come_when_due(tmp_path: Path) -> None:
    work = workspace_at(tmp_path)
    losses = iter([3.0, 1.0, 2.0, 1.5])
    sampled: list[int] = []
    model = tiny_decoder()

    def validate() -> dict[str, float]:
        assert not model.training and torch.is_inference_mode_enabled()
        return {"loss": next(losses), "bits_per_byte": 4.0}

    config = FitConfig(steps=22, validate_every=6, sample_every=0, checkpoint_every=5, keep=1, log_every=100)
    result = fit(model, causal, CountingRows(), config, work, validate=validate, sample=sampled.append)
    assert model.training
    validated = [line for line in metrics(work) if "validation_loss" in line]
    assert [(line["step"], line["validation_loss"]) for line in validated] == [
        (6, 3.0),
        (12, 1.0),
        (18, 2.0),
        (22, 1.5),
    ]
    assert {line["validation_bits_per_byte"] for line in validated} == {4.0}
    assert sampled == [22]
    assert result.counters.best == {"step": 12, "loss": 1.0}
    assert result.summary()["validation_loss"] == 1.5
    # The best one is saved although no checkpoint was due, and outlives the last `keep`; so does the last one
    # whose weights a later step has proven good.
    kept = ["step-00000012", "step-00000020", "step-00000022"]
    assert sorted(p.name for p in work.checkpoints.iterdir()) == kept


def test_train_6_a_stop_signal_ends_the_step_saves_and_raises(tmp_path: Path) -> None:
    asked: list[int] = []
    source = Spoiled({4: lambda batch: asked.append(signal.SIGTERM)})
    work = workspace_at(tmp_path, stop_signal=lambda: asked[0] if asked else None)
    config = FitConfig(steps=9, checkpoint_every=0, log_every=1)
    with pytest.raises(Interrupted) as error:
        fit(tiny_decoder(), causal, source, config, work)
    assert error.value.exit_code == 143
    assert sorted(path.name for path in work.checkpoints.iterdir()) == ["step-00000000", "step-00000005"]

    resumed, straight = tiny_decoder(seed=1), tiny_decoder()
    fit(resumed, causal, CountingRows(), config, workspace_at(tmp_path))
    fit(straight, causal, CountingRows(), config, workspace_at(tmp_path / "straight"))
    assert torch.equal(weights_of(resumed), weights_of(straight))
    # core-14: one line a step, none twice.
    assert [line["step"] for line in metrics(work)] == list(range(1, 10))


def test_noise_and_dropout_are_the_same_after_a_stop(tmp_path: Path) -> None:
    asked: list[int] = []

    def train(model: Decoder, folder: Path, source: Source, **more: Any) -> torch.Tensor:
        objective = Perturbed(causal, neftune_alpha=5.0, dropout=ResidualDropout(model, 0.3))
        work = workspace_at(folder, stop_signal=lambda: asked[0] if asked else None)
        fit(model, objective, RowSeeds(source, 3), FitConfig(steps=9, checkpoint_every=0, **more), work)
        return weights_of(model)

    straight = train(tiny_decoder(), tmp_path / "straight", CountingRows())
    with pytest.raises(Interrupted):
        train(tiny_decoder(), tmp_path, Spoiled({4: lambda batch: asked.append(signal.SIGTERM)}))
    asked.clear()
    assert torch.equal(train(tiny_decoder(seed=1), tmp_path, CountingRows()), straight)
    split = train(tiny_decoder(), tmp_path / "split", CountingRows(), micro_rows=1)
    torch.testing.assert_close(split, straight, rtol=1e-3, atol=1e-4)
    plain = tiny_decoder()
    fit(plain, causal, CountingRows(), FitConfig(steps=9), workspace_at(tmp_path / "plain"))
    assert (weights_of(plain) - straight).abs().max() > 1e-3


def test_micro_batches_do_not_change_the_run(tmp_path: Path) -> None:
    found = []
    for rows in (None, 3, 1):
        model = tiny_decoder().double()
        fit(
            model,
            causal,
            CountingRows(),
            FitConfig(steps=5, micro_rows=rows),
            workspace_at(tmp_path / f"{rows}"),
        )
        found.append(weights_of(model))
    assert (found[0] - found[1]).abs().max() < 1e-10 and (found[0] - found[2]).abs().max() < 1e-10


def test_perf_2_utilisation_above_the_peak_is_a_warning_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "exnihilo.train.fit.device_peak", lambda kind, name, dtype: Peak(1e3, "1 kFLOP/s, made up")
    )
    work = workspace_at(tmp_path)
    fit(tiny_decoder(), causal, CountingRows(), FitConfig(steps=4, log_every=1), work)
    told = [event["message"] for event in events(tmp_path) if event["event"] == "mfu_above_peak"]
    assert len(told) == 1 and "can't be: peak 1 kFLOP/s, made up" in told[0]
    assert all(line["mfu"] > 1 for line in metrics(work))
    assert [e["message"] for e in events(tmp_path) if e["event"] == "peak"] == [
        "model-FLOPs utilisation (mfu) is of 1 kFLOP/s, made up"
    ]


def test_a_model_of_unknown_flops_has_no_utilisation(tmp_path: Path) -> None:
    class Bigrams(torch.nn.Module):
        """The logits of the next id are a row of a table."""

        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(32, 32)
            self.register_buffer("head_weight", torch.eye(32))

        def hidden(self, tokens: torch.Tensor, positions: Any, segments: Any) -> torch.Tensor:
            logits: torch.Tensor = self.table(tokens)
            return logits

    work = workspace_at(tmp_path)
    result = fit(
        Bigrams(), causal, CountingRows(), FitConfig(steps=30, optimizer={"lr_embedding": 0.3}), work
    )
    lines = metrics(work)
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[-1]["mfu"] is None and result.counters.flops == 0


def test_steps_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="steps"):
        fit(tiny_decoder(), causal, CountingRows(), FitConfig(), workspace_at(tmp_path))
