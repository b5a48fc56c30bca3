"""Compiled blocks against uncompiled ones."""

from __future__ import annotations

import pytest
import torch

from exnihilo.model.compiled import can_compile, compile_blocks
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import causal
from exnihilo.tokens.batch import Batch

SHAPE = {"vocab_size": 61, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "hidden": 48}


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler with OpenMP")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_are_those_of_the_uncompiled_model(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(**SHAPE, max_length=24))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens = torch.randint(61, (3, 24))
    segments = torch.tensor([[0] * 24, [0] * 9 + [1] * 15, [0] * 20 + [1] * 4])
    positions = torch.tensor([[*range(24)], [*range(9), *range(15)], [*range(20), *range(4)]])
    batch = Batch(tokens, positions, segments, tokens.roll(-1, 1), (torch.rand(3, 24) < 0.8).float())

    def run() -> tuple[float, dict[str, torch.Tensor]]:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = causal(model, batch)
        loss.total.backward()
        return loss.total.item(), {
            name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
        }

    total, gradients = run()
    names = dict(model.named_parameters()).keys()
    compile_blocks(model)
    assert dict(model.named_parameters()).keys() == names == gradients.keys()
    compiled_total, compiled = run()
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    assert compiled_total == pytest.approx(total, rel=tolerance)
    for name, gradient in gradients.items():
        assert (compiled[name] - gradient).norm() <= tolerance * gradient.norm(), name
