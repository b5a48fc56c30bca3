"""Residual dropout: the ramp, the share that falls, its mean, and that other passes don't see it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from exnihilo.core.errors import ConfigError
from exnihilo.model.adapters import add_lora
from exnihilo.model.compiled import can_compile, compile_blocks
from exnihilo.model.lora_config import LoraConfig
from exnihilo.model.residual_dropout import ResidualDropout, ramp
from random_decoder import random_decoder

CPU = torch.device("cpu")


def tokens(rows: int = 3, length: int = 16) -> torch.Tensor:
    return torch.randint(50, (rows, length), generator=torch.Generator().manual_seed(0))


def test_lima_s_ramp_goes_from_nothing_at_the_bottom_to_all_at_the_top() -> None:
    assert ramp(4, 0.3) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert ramp(2, 0.3) == [0.0, 0.3]
    with pytest.raises(ConfigError, match="this model has one"):
        ramp(1, 0.3)


@pytest.mark.parametrize("shape", [{}, {"layout": "gpt2", "heads": 8, "kv_heads": 8}])
def test_each_block_drops_its_share_of_what_it_writes_and_keeps_the_mean(shape: dict[str, Any]) -> None:
    model = random_decoder(50, depth=4, width=128, **shape)
    dropout = ResidualDropout(model, 0.6)
    found: dict[tuple[int, str], torch.Tensor] = {}
    for place, block in enumerate(model.blocks):
        for name, layer in (("attention", block.attention.out), ("feed_forward", block.feed_forward)):
            layer.register_forward_hook(
                lambda layer, inputs, out, key=(place, name): found.__setitem__(key, out.detach())
            )
    model.hidden(tokens())
    plain = dict(found)
    with dropout.drawn([5, 6, 7], 16, CPU):
        model.hidden(tokens())
    for (place, name), out in found.items():
        share = float((out == 0).float().mean())
        assert share == pytest.approx([0.0, 0.2, 0.4, 0.6][place], abs=0.03), (place, name)
    # Before the first block that drops, all is as it was; there, what is kept is scaled up.
    assert torch.equal(found[0, "feed_forward"], plain[0, "feed_forward"])
    kept = found[1, "attention"] != 0
    torch.testing.assert_close(found[1, "attention"][kept] * 0.8, plain[1, "attention"][kept])


def test_it_is_off_outside_and_a_row_draws_by_its_seed_alone() -> None:
    model = random_decoder(50, depth=3)
    plain = model.hidden(tokens())
    dropout = ResidualDropout(model, 0.5)
    assert torch.equal(model.hidden(tokens()), plain)  # in training mode, too: evaluation never drops
    with dropout.drawn([5, 6, 7], 16, CPU):
        whole = model.hidden(tokens())
    assert not torch.equal(whole, plain)
    for row, seed in enumerate((5, 6, 7)):
        with dropout.drawn([seed], 16, CPU):
            alone = model.hidden(tokens()[row : row + 1])
        torch.testing.assert_close(alone[0], whole[row])
    assert torch.equal(model.hidden(tokens()), plain)


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler with OpenMP")
@torch.no_grad()
def test_compiled_blocks_drop_the_same() -> None:
    """Also the blocks above the first, which a compiler takes for the same code, and which alone have a rate."""
    model = random_decoder(50, depth=2)
    dropout = ResidualDropout(model, 0.5)

    def dropped() -> torch.Tensor:
        with dropout.drawn([5, 6, 7], 16, CPU):
            return model.hidden(tokens())

    expected, plain = dropped(), model.hidden(tokens())
    compile_blocks(model)
    torch.testing.assert_close(dropped(), expected, rtol=1e-4, atol=1e-5)
    assert (expected - plain).norm() > 0.1 * plain.norm()


def test_adapters_are_dropped_with_their_layer() -> None:
    model = random_decoder(50, depth=3)
    add_lora(model, LoraConfig(rank=2), 0)
    dropout = ResidualDropout(model, 0.5)
    plain = model.hidden(tokens())
    with dropout.drawn([5, 6, 7], 16, CPU):
        assert not torch.equal(model.hidden(tokens()), plain)
