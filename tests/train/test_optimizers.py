from __future__ import annotations

import pytest
import torch
from tiny_runs import CountingRows, tiny_decoder

from exnihilo.core.errors import Refused
from exnihilo.objectives.causal import causal
from exnihilo.train.config import DEFAULT_RATES, OptimizerConfig
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.step import Accumulator


@pytest.mark.parametrize("tied", [True, False])
def test_muon_trains_the_matrices_of_the_blocks_and_nothing_else(tied: bool) -> None:
    model = tiny_decoder(tied=tied)
    optimizers = Optimizers(model, OptimizerConfig())
    trained = {
        kind: {optimizers.names[p] for group in optimizer.param_groups for p in group["params"]}
        for kind, optimizer in optimizers.optimizers.items()
    }
    names = {name for name, _ in model.named_parameters()}
    matrices = {n for n in names if n.startswith("blocks.") and "norm" not in n}
    assert len(matrices) == 4 * 2
    assert trained == {"muon": matrices, "adamw": names - matrices}
    assert ("output.weight" in trained["adamw"]) == (not tied)


def test_adamw_decays_matrices_only() -> None:
    model = tiny_decoder()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Optimizers(model, OptimizerConfig(name="adamw", lr=0.1, lr_embedding=0.1, weight_decay=0.5)).step(1.0)
    for name, parameter in model.named_parameters():
        shrink = 0.95 if parameter.ndim == 2 and name.startswith("blocks.") else 1.0
        assert torch.allclose(parameter, shrink * before[name], atol=1e-7), name


def test_step_scales_the_peak_rates() -> None:
    optimizers = Optimizers(tiny_decoder(), OptimizerConfig(lr=0.5, lr_embedding=0.1))
    optimizers.step(0.25)
    assert [g["lr"] for o in optimizers.optimizers.values() for g in o.param_groups] == [0.125, 0.025]
    assert optimizers.lr == 0.5
    assert Optimizers(tiny_decoder(), OptimizerConfig(lr=0.0)).lr == 0.0  # 0 is a rate, not "unset"
    assert Optimizers(tiny_decoder(), OptimizerConfig()).lr == DEFAULT_RATES["muon"][0]
    adamw = Optimizers(tiny_decoder(), OptimizerConfig(name="adamw", lr_embedding=0.3))
    assert adamw.lr == DEFAULT_RATES["adamw"][0]


@pytest.mark.parametrize("name", ["muon", "normuon", "adamw"])
def test_state_round_trip_continues_bit_identically(name: str) -> None:
    source = CountingRows()
    config = OptimizerConfig(name=name)

    def train(model: torch.nn.Module, optimizers: Optimizers, steps: range) -> None:
        accumulator = Accumulator(model, causal, None)
        for step in steps:
            accumulator.gradients(source.next(step))
            optimizers.step(1.0)

    straight = tiny_decoder()
    optimizers = Optimizers(straight, config)
    assert optimizers.tensors() == {}
    train(straight, optimizers, range(3))
    saved = {key: tensor.clone() for key, tensor in optimizers.tensors().items()}
    weights = {key: tensor.clone() for key, tensor in straight.state_dict().items()}
    train(straight, optimizers, range(3, 6))

    resumed = tiny_decoder(seed=5)
    resumed.load_state_dict(weights)
    restored = Optimizers(resumed, config)
    restored.load(saved)
    train(resumed, restored, range(3, 6))
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_that_does_not_fit_is_refused() -> None:
    model = tiny_decoder()
    optimizers = Optimizers(model, OptimizerConfig())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.step(1.0)
    with pytest.raises(Refused, match=r"muon/momentum_buffer.*keep optimizer.name"):
        Optimizers(tiny_decoder(), OptimizerConfig(name="adamw")).load(optimizers.tensors())
    with pytest.raises(Refused, match="keep the model's shape"):
        Optimizers(tiny_decoder(width=24), OptimizerConfig()).load(optimizers.tensors())
