"""The decoder against transformers, against itself with a cache, and against packed rows."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from exnihilo.core.errors import ExnihiloError
from exnihilo.model.cache import KVCache
from exnihilo.model.config import DecoderConfig
from exnihilo.model.config_json import config_json
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import to_transformers
from exnihilo.model.fused import turn
from exnihilo.model.layers import rotary_table


def shape(**changes: object) -> DecoderConfig:
    given = {
        "vocab_size": 97, "width": 48, "depth": 3, "heads": 4, "kv_heads": 2, "head_dim": 16, "hidden": 80,
        "tied": True, "max_length": 40,
    }  # fmt: skip
    return DecoderConfig(**(given | changes))  # type: ignore[arg-type]


def random_decoder(config: DecoderConfig, seed: int = 0) -> Decoder:
    """A decoder in which every weight matters: nothing is left at zero or one."""
    torch.manual_seed(seed)
    model = Decoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (1.0 if parameter.ndim == 1 else 0.0))
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_model_4_logits_equal_transformers(tied: bool, kv_heads: int) -> None:
    config = shape(tied=tied, kv_heads=kv_heads)
    model = random_decoder(config)
    reference = Qwen3ForCausalLM(Qwen3Config(**config_json(config, bos=0, end=7, eos=1, pad=2))).eval()
    missing = reference.load_state_dict(to_transformers(model), strict=False)
    assert missing.missing_keys in ([], ["lm_head.weight"]) and not missing.unexpected_keys
    reference.tie_weights()
    tokens = torch.randint(0, 97, (2, 40))
    with torch.no_grad():
        assert (model(tokens) - reference(tokens).logits).abs().max() < 1e-4


def test_model_4_rotary_is_relative_and_past_the_end_raises() -> None:
    cos, sin = rotary_table(64, 16, 10_000.0)
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def product(m: int, n: int) -> float:
        turned = [turn(x, cos[i], sin[i]) for x, i in ((query, m), (key, n))]
        return float((turned[0] * turned[1]).sum())

    assert product(5, 2) == pytest.approx(product(50, 47), abs=1e-5)
    assert product(5, 2) != pytest.approx(product(5, 3), abs=1e-3)
    with pytest.raises(ExnihiloError, match="41 tokens are more than the model's context of 40"):
        Decoder(shape())(torch.zeros(1, 41, dtype=torch.long))


def test_model_1_cached_equals_full_at_every_length_and_chunking() -> None:
    config = shape()
    model = random_decoder(config)
    tokens = torch.randint(0, 97, (2, 40))
    with torch.no_grad():
        full = model(tokens)
        for chunk in (1, 3, 17, 40):
            cache = KVCache(config, 2, 40)
            parts = [model(tokens[:, i : i + chunk], cache=cache) for i in range(0, 40, chunk)]
            assert (torch.cat(parts, dim=1) - full).abs().max() < 1e-4
            assert cache.length == 40


def test_cache_rewinds_and_refuses_what_does_not_fit() -> None:
    config = shape()
    model = random_decoder(config)
    tokens = torch.randint(0, 97, (2, 6))
    with torch.no_grad():
        cache = KVCache(config, 2, 12)
        model(tokens, cache=cache)
        cache.rewind(3)
        again = model(tokens[:, 3:4], cache=cache)[:, 0]
        assert (again - model(tokens[:, :4])[:, -1]).abs().max() < 1e-4
    with pytest.raises(ExnihiloError, match="cannot rewind"):
        cache.rewind(9)
    with pytest.raises(ExnihiloError, match="do not fit the cache of 12"):
        model(tokens.repeat(1, 2), cache=cache)
    with pytest.raises(ExnihiloError, match="longer than the model's context"):
        KVCache(config, 1, 41)


def test_pack_3_packed_equals_unpacked_and_no_gradient_crosses() -> None:
    config = shape()
    model = random_decoder(config)
    pieces = [torch.randint(0, 97, (n,)) for n in (7, 1, 12)]
    tokens = torch.cat(pieces)[None]
    positions = torch.cat([torch.arange(len(p)) for p in pieces])[None]
    segments = torch.cat([torch.full((len(p),), i) for i, p in enumerate(pieces)])[None]
    packed = model(tokens, positions, segments)
    alone = torch.cat([model(piece[None]) for piece in pieces], dim=1)
    assert (packed - alone).abs().max() < 1e-5

    embedded: list[torch.Tensor] = []

    def keep(_: object, __: object, output: torch.Tensor) -> None:
        output.retain_grad()
        embedded.append(output)

    handle = model.embedding.register_forward_hook(keep)
    model(tokens, positions, segments)[0, 8:].square().sum().backward()
    handle.remove()
    gradient = embedded[0].grad
    assert gradient is not None
    assert gradient[0, :8].abs().max() == 0.0 and gradient[0, 8:].abs().max() > 0.0


def test_without_positions_segments_alone_do_not_leak_but_positions_go_on() -> None:
    model = random_decoder(shape())
    tokens = torch.randint(0, 97, (1, 10))
    segments = torch.tensor([[0] * 4 + [1] * 6])
    changed = tokens.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 97
    with torch.no_grad():
        before, after = model(tokens, None, segments), model(changed, None, segments)
    assert torch.equal(before[0, 4:], after[0, 4:]) and not torch.equal(before[0, :4], after[0, :4])


def test_model_2_two_scoring_passes_are_bit_equal_in_training_mode() -> None:
    model = random_decoder(shape()).train()
    tokens = torch.randint(0, 97, (2, 20))
    assert torch.equal(model(tokens), model(tokens))


def test_initial_loss_is_that_of_a_uniform_guess() -> None:
    torch.manual_seed(0)
    for tied in (True, False):
        model = Decoder(shape(tied=tied, vocab_size=512))
        tokens = torch.randint(0, 512, (4, 40))
        loss = torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), torch.randint(0, 512, (160,)))
        assert loss.item() == pytest.approx(6.238, abs=0.05)


@pytest.mark.parametrize("tied", [True, False])
def test_parameter_counts_are_those_of_the_module(tied: bool) -> None:
    config = shape(tied=tied)
    assert config.parameters == sum(p.numel() for p in Decoder(config).parameters())


def test_impossible_shapes_name_the_fix() -> None:
    with pytest.raises(
        ValueError, match=r"heads \(6\) must be a multiple of kv_heads \(4\); try \[1, 2, 3, 6\]"
    ):
        shape(heads=6, kv_heads=4)
    with pytest.raises(ValueError, match=r"head_dim \(15\) must be even"):
        shape(head_dim=15)


def test_core_13_a_path_that_cannot_honour_a_mask_says_so() -> None:
    config = shape()
    segments = torch.tensor([[0, 0, 1, 1]])
    with pytest.raises(ExnihiloError, match="packed segments can't be appended"):
        Decoder(config)(torch.zeros(1, 4, dtype=torch.long), segments=segments, cache=KVCache(config, 1, 8))
