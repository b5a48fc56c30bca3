from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_runs import CountingRows, tiny_decoder
from torch import nn

from exnihilo.core.errors import OutOfMemory
from exnihilo.objectives.causal import causal
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import Batch
from exnihilo.train.config import FitConfig, OptimizerConfig
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.step import Accumulator


def uneven_batch() -> Batch:
    """Eight rows, of which the first trains nothing and the others ever more."""
    batch = CountingRows(rows=8, masked=0.0).next(0)
    for i in range(8):
        batch.weights[i, : 8 - i] = 0
    batch.weights[0] = 0
    batch.weights[7] *= 2.5
    return batch


def gradients(
    batch: Batch, micro_rows: int | None, dtype: torch.dtype, limit: float | None = None
) -> tuple[nn.Module, torch.Tensor, float]:
    model = tiny_decoder().to(dtype)
    accumulator = Accumulator(model, causal, micro_rows)
    sums = accumulator.gradients(batch, limit=limit)
    flat = torch.cat([p.grad.reshape(-1) for p in accumulator.parameters if p.grad is not None])
    return model, flat, sums.loss


def two_levels(model: nn.Module, batch: Batch) -> Loss:
    """A loss that is the model's one parameter times the token, for tokens of weight 1."""
    scale: torch.Tensor = next(model.parameters())
    return Loss((scale * batch.tokens * batch.weights).sum(), batch.weights.sum())


@pytest.mark.parametrize("micro_rows", [None, 1])
def test_train_1_a_token_counts_the_same_in_a_long_and_a_short_row(micro_rows: int | None) -> None:
    """Eight tokens of loss 1 and one of loss 5: (8 · 1 + 5) / 9, not the mean of the two rows' means, 3."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    tokens = torch.tensor([[1] * 8, [5] + [0] * 7])
    weights = torch.tensor([[1.0] * 8, [1.0] + [0.0] * 7])
    zeros = torch.zeros_like(tokens)
    batch = Batch(tokens, zeros, zeros, zeros, weights)
    sums = Accumulator(model, two_levels, micro_rows).gradients(batch)
    assert sums.loss == pytest.approx(13 / 9, rel=1e-6)  # 1.444
    assert model.weight.grad is not None and model.weight.grad.item() == pytest.approx(13 / 9, rel=1e-6)


@pytest.mark.parametrize("micro_rows", [1, 2, 3, 5, 8])
def test_train_1_micro_batches_and_uneven_masks_equal_one_batch(micro_rows: int) -> None:
    """Gradients within 1e-6 relative; parameters after the step within 1e-10 in float64."""
    batch = uneven_batch()
    _, whole, loss = gradients(batch, None, torch.float32)
    _, parts, loss_of_parts = gradients(batch, micro_rows, torch.float32)
    assert (parts - whole).norm() < 1e-6 * whole.norm()
    assert loss_of_parts == pytest.approx(loss, rel=1e-6)

    stepped = []
    for rows in (None, micro_rows):
        model, _, _ = gradients(batch, rows, torch.float64, limit=1.0)
        Optimizers(model, OptimizerConfig(weight_decay=0.1)).step(1.0)
        stepped.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    assert (stepped[0] - stepped[1]).abs().max() < 1e-10


def test_train_1_gradient_is_that_of_the_weighted_mean() -> None:
    batch = uneven_batch()
    model, flat, loss = gradients(batch, 3, torch.float64)
    logits = model(batch.tokens, batch.positions, batch.segments)
    nats = nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    mean = (nats * batch.weights.flatten()).sum() / batch.weights.sum()
    expected = torch.autograd.grad(mean, list(model.parameters()))
    assert loss == pytest.approx(mean.item(), rel=1e-12)
    assert torch.allclose(flat, torch.cat([g.reshape(-1) for g in expected]), rtol=0, atol=1e-12)


def test_train_1_a_batch_without_weight_gives_no_loss() -> None:
    batch = CountingRows().next(0)
    batch.weights.zero_()
    sums = Accumulator(tiny_decoder(), causal, 2).gradients(batch)
    assert sums.weight == 0 and sums.loss != sums.loss


def test_train_8_clipped_norm_is_the_limit_and_the_logged_one_is_before() -> None:
    batch = uneven_batch()
    _, whole, _ = gradients(batch, 2, torch.float64)
    expected = whole.norm().item()
    accumulator = Accumulator(tiny_decoder().double(), causal, 2)
    # Clipped; then below the limit, where the gradient stays as it is.
    for limit, factor in ((expected / 3, 1 / 3), (expected * 3, 1.0)):
        assert accumulator.gradients(batch, limit=limit).norm == pytest.approx(expected, rel=1e-9)
        after = torch.cat([p.grad.reshape(-1) for p in accumulator.parameters if p.grad is not None])
        assert torch.allclose(after, factor * whole, rtol=1e-9, atol=0)
    assert FitConfig().clip == 1.0


def test_out_of_memory_halves_the_rows_at_once_and_changes_nothing_else() -> None:
    batch = uneven_batch()
    seen: list[int] = []

    def hungry(model: Any, part: Batch) -> Loss:
        seen.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("too much")
        return causal(model, part)

    model = tiny_decoder()
    accumulator = Accumulator(model, hungry, None)
    accumulator.gradients(batch)
    assert seen == [8, 4, 2, 2, 2, 2]
    assert accumulator.take_remarks() == [
        "out of memory with 8 rows at once; going on with 4",
        "out of memory with 4 rows at once; going on with 2",
    ]
    assert accumulator.take_remarks() == []
    _, whole, _ = gradients(batch, None, torch.float32)
    flat = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    assert (flat - whole).norm() < 1e-6 * whole.norm()

    def insatiable(model: Any, part: Batch) -> Loss:
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(OutOfMemory, match="one row does not fit"):
        Accumulator(model, insatiable, None).gradients(batch)


def test_objective_metrics_become_means_over_the_same_weight() -> None:
    def with_metric(model: Any, part: Batch) -> Loss:
        loss = causal(model, part)
        loss.metrics["double"] = 2 * loss.weight
        return loss

    sums = Accumulator(tiny_decoder(), with_metric, 3).gradients(uneven_batch())
    assert sums.metrics == {"double": pytest.approx(2.0)}
