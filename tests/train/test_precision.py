"""bfloat16 products against float32, the reference."""

from __future__ import annotations

import pytest
import torch

from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.precision import multiplying_in, resolve_precision
from exnihilo.objectives.causal import causal
from exnihilo.tokens.batch import Batch
from exnihilo.train.muon import orthogonalise
from exnihilo.train.step import Accumulator

CPU = torch.device("cpu")


def a_decoder() -> Decoder:
    torch.manual_seed(0)
    model = Decoder(
        DecoderConfig(
            vocab_size=200, width=64, depth=2, heads=2, kv_heads=2, head_dim=32, hidden=128, max_length=64
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    return model


def a_batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 200, (4, 48), generator=generator)
    segments = (torch.arange(48) >= 20).long().expand(4, 48).contiguous()
    positions = torch.cat([torch.arange(20), torch.arange(28)]).expand(4, 48).contiguous()
    return Batch(tokens, positions, segments, tokens.roll(-1, 1), torch.ones(4, 48))


def test_bfloat16_gives_the_same_gradient_up_to_its_rounding() -> None:
    model = a_decoder()
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        sums = Accumulator(model, causal, None, dtype).gradients(a_batch())
        found[dtype] = sums.loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]
    (exact, gradients), (loss, rounded) = found.values()
    assert loss == pytest.approx(exact, rel=2e-3) and loss != exact
    for a, b in zip(gradients, rounded, strict=True):
        assert b.dtype == torch.float32
        assert (a - b).norm() / a.norm() < 0.05


def test_weights_norms_and_loss_stay_in_float32() -> None:
    model = a_decoder()
    with multiplying_in(torch.bfloat16, CPU):
        loss = causal(model, a_batch())
    assert loss.total.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_orthogonalised_in_bfloat16_singular_values_are_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 64, 64), (2, 64, 192)):
        matrices = torch.randn(shape)
        values = torch.linalg.svdvals(orthogonalise(matrices.bfloat16(), 5).float())
        assert values.max() < 1.3 and values.median() > 0.6
        exact = orthogonalise(matrices, 5)
        assert (orthogonalise(matrices.bfloat16(), 5).float() - exact).norm() / exact.norm() < 0.05


def test_auto_follows_the_hardware_and_a_choice_is_honoured() -> None:
    assert resolve_precision("float32", CPU) == torch.float32
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16
    assert resolve_precision("auto", CPU) in (torch.float32, torch.bfloat16)
    assert resolve_precision("auto", CPU) == resolve_precision("auto", CPU)
