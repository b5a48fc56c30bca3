"""Losses by source: over steps, over processes and micro-batches, and on held-out rows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_runs import VOCABULARY, CountingRows, metrics, tiny_decoder, workspace_at

from exnihilo.objectives.by_source import BySource
from exnihilo.objectives.causal import token_losses
from exnihilo.tokens.batch import SOURCE, Batch
from exnihilo.train.config import FitConfig, OptimizerConfig
from exnihilo.train.fit import fit
from exnihilo.train.sources import SourceLosses, other_metrics, told, told_by_source
from exnihilo.train.validation import HeldOutLoss

SOURCES = ["even", "odd"]
STILL = OptimizerConfig(lr=0.0, lr_embedding=0.0)


class TwoSources(CountingRows):
    """CountingRows whose even rows are from one source, odd ones from another."""

    def next(self, step: int, model: object = None) -> Batch:
        batch = super().next(step)
        whose = (torch.arange(len(batch)) % 2)[:, None].expand(batch.tokens.shape)
        batch.extra[SOURCE] = whose.contiguous()
        return batch


def test_means_are_over_the_tokens_of_all_steps_since_the_last_line() -> None:
    losses = SourceLosses()
    # Means over a step's weight: 10 and 30 nats of 4 and 6 tokens, then 5 nats of the 1 token of `a`.
    losses.add({"nats/a": 1.0, "nats/b": 3.0, "weight/a": 0.4, "weight/b": 0.6, "kl": 9.0}, 10.0)
    losses.add({"nats/a": 5.0, "nats/b": 0.0, "weight/a": 1.0, "weight/b": 0.0}, 1.0)
    found = losses.take()
    assert found == pytest.approx({"loss/a": 15 / 5, "loss/b": 30 / 6, "share/a": 5 / 11, "share/b": 6 / 11})
    assert losses.take() == {}
    losses.add({"nats/a": 2.0, "nats/b": 0.0, "weight/a": 1.0, "weight/b": 0.0}, 1.0)
    assert losses.take() == pytest.approx({"loss/a": 2.0, "share/a": 1.0})  # `b` was not there


def test_what_is_told() -> None:
    assert other_metrics({"kl": 0.1, "nats/a": 1.0, "weight/a": 1.0}) == {"kl": 0.1}
    figures = {"loss": 2.0, "loss/a": 1.0, "loss/b": 3.0, "bits_per_byte": 1.5, "bits_per_byte/a": 1.0}
    assert told(figures) == "loss 2, bits_per_byte 1.5"
    assert told_by_source(figures) == "bits_per_byte: a 1"
    assert told_by_source({"loss/a": 1.0, "loss/b": 3.0}) == "loss: b 3, a 1"
    assert told_by_source({"loss": 2.0}) is None


@pytest.mark.parametrize("micro_rows", [None, 1])
def test_a_run_records_them_whatever_its_micro_batches(tmp_path: Path, micro_rows: int | None) -> None:
    """With learning rates of 0 the model stands still, so a line's means are over its ten steps' tokens."""
    model, source, work = tiny_decoder(), TwoSources(), workspace_at(tmp_path)
    config = FitConfig(steps=20, log_every=10, micro_rows=micro_rows, optimizer=STILL, outlier_sigma=None)
    fit(model, BySource(SOURCES), source, config, work)
    lines = [one for one in metrics(work) if "loss" in one]
    assert [one["step"] for one in lines] == [1, 10, 20]
    assert not any(key.startswith(("nats/", "weight/")) for one in lines for key in one)
    model.eval()
    for line, steps in zip(lines[1:], (range(1, 10), range(10, 20)), strict=True):
        batch = Batch.cat([source.next(step) for step in steps])
        losses, weights = token_losses(model, batch)
        whose = batch.extra[SOURCE][batch.weights != 0]
        for i, name in enumerate(SOURCES):
            mine = whose == i
            expected = (losses * weights)[mine].sum() / weights[mine].sum()
            assert line[f"loss/{name}"] == pytest.approx(expected.item(), rel=1e-4)
            assert line[f"share/{name}"] == pytest.approx(
                (weights[mine].sum() / weights.sum()).item(), rel=1e-5
            )


def test_the_records_change_no_weight(tmp_path: Path) -> None:
    from exnihilo.objectives.causal import causal

    trained = []
    for name, objective in (("by", BySource(SOURCES)), ("plain", causal)):
        model = tiny_decoder()
        fit(model, objective, TwoSources(), FitConfig(steps=5), workspace_at(tmp_path / name))
        trained.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*trained)


def test_validation_by_source_is_that_of_its_rows_alone() -> None:
    model, source = tiny_decoder(), TwoSources()
    batch = source.next(0)
    sizes = [bytes(1 + i % 3) for i in range(VOCABULARY)]
    with torch.no_grad():
        both = HeldOutLoss(model, batch, sizes, rows=3, sources=SOURCES)()
        for i, name in enumerate(SOURCES):
            rows = [row for row in range(len(batch)) if row % 2 == i]
            part = Batch.cat([batch.rows(row, row + 1) for row in rows])
            alone = HeldOutLoss(model, part, sizes, rows=1)()
            assert alone.keys() == {"loss", "bits_per_byte"}
            assert both[f"loss/{name}"] == pytest.approx(alone["loss"], rel=1e-5)
            assert both[f"bits_per_byte/{name}"] == pytest.approx(alone["bits_per_byte"], rel=1e-5)
        whole = HeldOutLoss(model, batch, sizes, rows=4)()
    assert both["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert both["bits_per_byte"] == pytest.approx(whole["bits_per_byte"], rel=1e-5)
    assert math.isfinite(whole["loss"])
