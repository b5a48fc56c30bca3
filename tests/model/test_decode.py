"""One token a row through buffers, against the model's own pass over whole texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exnihilo.model.blocked import Matrices
from exnihilo.model.cache import causal_attention
from exnihilo.model.cached import cached_hidden
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decode import DecodeStep
from exnihilo.model.decoder import Decoder
from exnihilo.model.lora import Adapter, LoraLinear


class GrowingCache:
    """Keys and values joined on at every step; rows begin at positions of their own."""

    def __init__(self, depth: int, first: Tensor) -> None:
        self.next = first
        self.kept: list[list[Tensor]] = [[] for _ in range(depth)]

    def positions(self, new: int) -> Tensor:
        self.next = self.next + new
        return (self.next - 1)[:, None]

    def mix(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        self.kept[layer].append(torch.stack((key, value)).clone())
        keys, values = torch.stack(self.kept[layer], -2)
        return torch.nn.functional.scaled_dot_product_attention(query, keys, values)


def _model(heads: int, kv_heads: int, hidden: int = 40) -> Decoder:
    torch.manual_seed(heads)
    config = DecoderConfig(
        vocab_size=61,
        width=24,
        depth=3,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=8,
        hidden=hidden,
        max_length=32,
    )
    model = Decoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3)
    return model


@pytest.mark.parametrize("shards", [None, 1, 2, 3, 4])
@pytest.mark.parametrize(("heads", "kv_heads", "hidden"), [(4, 2, 40), (3, 1, 36), (4, 4, 41), (4, 1, 38)])
@torch.inference_mode()
def test_steps_equal_the_pass_over_the_whole_text(
    heads: int, kv_heads: int, hidden: int, shards: int | None
) -> None:
    model = _model(heads, kv_heads, hidden)
    first = torch.tensor([0, 5, 2, 19, 11])
    texts = torch.randint(61, (5, 7))
    expected = model.hidden(texts, first[:, None] + torch.arange(7))
    step = DecodeStep(Matrices(model, shards), rows=5)
    cache = GrowingCache(3, first)
    for i in range(7):
        assert (step.hidden(texts[:, i], cache) - expected[:, i]).abs().max() < 1e-5
    assert expected.std() > 0.1


@torch.inference_mode()
def test_a_step_multiplies_with_the_adapters_of_a_layer() -> None:
    model = _model(4, 2)
    attention = model.blocks[1].get_submodule("attention")
    base = attention.get_submodule("out")
    assert isinstance(base, torch.nn.Linear)
    adapter = Adapter(torch.randn(2, 32), torch.randn(24, 2), 0.3)
    plain = DecodeStep(Matrices(model), 2).hidden(
        torch.tensor([3, 4]), GrowingCache(3, torch.zeros(2).long())
    )
    attention.out = LoraLinear(base, {"o_proj": 24}, {"o_proj": adapter})
    tokens = torch.tensor([3, 4])
    expected = model.hidden(tokens[:, None])[:, 0]
    for shards in (None, 2):
        hidden = DecodeStep(Matrices(model, shards), 2).hidden(tokens, GrowingCache(3, torch.zeros(2).long()))
        assert (hidden - expected).abs().max() < 1e-5
    assert (plain - expected).abs().max() > 0.01


@torch.inference_mode()
def test_states_of_the_wanted_tokens_are_those_of_all() -> None:
    class Whole:
        """Nothing is kept: all tokens come at once."""

        layers = property(lambda self: [self] * 3)

        def positions(self, new: int) -> Tensor:
            return torch.arange(new).expand(2, new)

        def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return causal_attention(query, key.transpose(1, 2), value.transpose(1, 2))

    model, tokens = _model(4, 2), torch.randint(61, (2, 9))
    wanted = torch.tensor([2, 8])
    states = cached_hidden(model, tokens, Whole(), wanted=wanted)
    assert states.shape == (2, 2, 24)
    assert (states - model.hidden(tokens)[:, wanted]).abs().max() < 1e-5
