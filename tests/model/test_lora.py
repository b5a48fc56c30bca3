"""LoRA and DoRA: what an adapter computes, what is trained, and that merging and unmerging are exact."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig as PeftConfig
from peft import get_peft_model
from torch import Tensor, nn

from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError
from exnihilo.infer.generate import generate
from exnihilo.infer.sampling import Sampling
from exnihilo.model.adapters import (
    adapters_of,
    adapters_off,
    add_lora,
    fold,
    lora_layers,
    merge,
    merged,
    projections,
    unmerge,
)
from exnihilo.model.decoder import Decoder
from exnihilo.model.lora import Adapter, LoraLinear
from exnihilo.model.lora_config import BLOCK_TARGETS, LoraConfig
from random_decoder import random_decoder

VOCABULARY = 48
KINDS = pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])


def small_decoder(*, tied: bool = True, seed: int = 0) -> Decoder:
    """A decoder of grouped-query attention in which nothing is zero."""
    shape = {"width": 24, "heads": 4, "head_dim": 6, "hidden": 40, "tied": tied}
    return random_decoder(VOCABULARY, noise=0.15, seed=seed, **shape)


def adapted(*, tied: bool = True, trained: bool = True, **settings: Any) -> Decoder:
    """A decoder with adapters, by default ones that have moved from where they start."""
    model = small_decoder(tied=tied)
    add_lora(model, LoraConfig(**{"rank": 4, "alpha": 8.0, **settings}), seed=1)
    if trained:
        torch.manual_seed(2)
        with torch.no_grad():
            for adapter in adapters_of(model).values():
                adapter.B.normal_(std=0.1)
                if adapter.magnitude is not None:
                    adapter.magnitude.mul_(torch.rand_like(adapter.magnitude) + 0.5)
    return model


def some_tokens(rows: int = 2, length: int = 12) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(5))


def base_of(model: Decoder) -> dict[str, Tensor]:
    """Copies of all that is not an adapter's."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if ".adapters." not in name}


@KINDS
def test_model_7_fresh_adapters_change_nothing(dora: bool) -> None:
    tokens = some_tokens()
    model = adapted(trained=False, dora=dora, targets=[*BLOCK_TARGETS, "lm_head"], tied=False)
    with torch.no_grad():
        ours, theirs = (F.log_softmax(one(tokens), -1) for one in (model, small_decoder(tied=False)))
        kl = (theirs.exp() * (theirs - ours)).sum(-1)
    if dora:  # the factor m / ‖W‖ is 1 up to rounding
        assert kl.abs().max() < 1e-9 and (ours - theirs).abs().max() < 1e-5
    else:
        assert kl.abs().max() == 0
    moved = adapted(dora=dora)
    with torch.no_grad():
        assert (moved(tokens) - small_decoder()(tokens)).abs().max() > 0.1


def test_fresh_adapters_are_drawn_like_linear_layers_and_follow_from_the_seed() -> None:
    first, again = adapters_of(adapted(trained=False)), adapters_of(adapted(trained=False))
    other = small_decoder()
    add_lora(other, LoraConfig(rank=4), seed=2)
    for name, adapter in first.items():
        bound = adapter.A.shape[1] ** -0.5
        assert 0.8 * bound < adapter.A.abs().max() <= bound
        assert not adapter.B.any() and torch.equal(adapter.A, again[name].A)
        assert not torch.equal(adapter.A, adapters_of(other)[name].A)
    weights = dict(projections(small_decoder()))
    for name, adapter in adapters_of(adapted(trained=False, dora=True)).items():
        assert adapter.magnitude is not None
        assert torch.allclose(adapter.magnitude, weights[name].norm(dim=1))
    model, state = small_decoder(), torch.get_rng_state()
    add_lora(model, LoraConfig(rank=4), seed=2)
    assert torch.equal(state, torch.get_rng_state())  # the global generator is somebody else's


def test_fused_matrices_hold_separate_projections() -> None:
    model = adapted(tied=False, targets=[*BLOCK_TARGETS, "lm_head"])
    shapes = {name: (tuple(a.B.shape), tuple(a.A.shape)) for name, a in adapters_of(model).items()}
    block = {
        "self_attn.q_proj": ((24, 4), (4, 24)),
        "self_attn.k_proj": ((12, 4), (4, 24)),
        "self_attn.v_proj": ((12, 4), (4, 24)),
        "self_attn.o_proj": ((24, 4), (4, 24)),
        "mlp.gate_proj": ((40, 4), (4, 24)),
        "mlp.up_proj": ((40, 4), (4, 24)),
        "mlp.down_proj": ((24, 4), (4, 40)),
    }
    expected = {f"model.layers.{i}.{name}": shape for i in range(2) for name, shape in block.items()}
    assert shapes == expected | {"lm_head": ((VOCABULARY, 4), (4, 24))}


@KINDS
@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["k_proj", "up_proj", "down_proj"], BLOCK_TARGETS])
def test_the_layer_computes_what_its_matrix_says(dora: bool, targets: list[str]) -> None:
    """Adapters beside the matrix and the matrix with the adapters added: one function, with equal gradients."""
    model = adapted(dora=dora, targets=targets).double()
    for layer in lora_layers(model):
        x = torch.randn(3, 5, layer.base.in_features, dtype=torch.float64, requires_grad=True)
        results = []
        for out in (layer(x), F.linear(x, layer.weight, layer.base.bias)):
            wanted = [x, *layer.adapters.parameters()]
            results.append((out, *torch.autograd.grad((out**3).sum(), wanted)))
        for one, two in zip(*results, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)
        parts = dict(zip(layer.rows, layer.weight.split(list(layer.rows.values())), strict=True))
        plain = dict(zip(layer.rows, layer.base.weight.split(list(layer.rows.values())), strict=True))
        for name in layer.rows:
            assert torch.equal(parts[name], plain[name]) is (name not in targets)


@KINDS
def test_model_7_merged_logits_are_the_adapted_ones_and_unmerging_is_exact(dora: bool) -> None:
    tokens, model = some_tokens(), adapted(dora=dora, tied=False, targets=[*BLOCK_TARGETS, "lm_head"])
    before = base_of(model)
    with torch.no_grad():
        beside = model(tokens)
        merge(model)
        together = model(tokens)
        assert all(layer.merged is not None for layer in lora_layers(model))
        unmerge(model)
        again = model(tokens)
    assert 0 < (beside - together).abs().max() < 1e-5
    assert torch.equal(beside, again)
    for name, tensor in base_of(model).items():
        assert torch.equal(tensor, before[name]), name
    with merged(model), torch.no_grad():
        assert torch.equal(model(tokens), together)
    assert all(layer.merged is None for layer in lora_layers(model))
    fold(model)
    assert not lora_layers(model) and all(p.requires_grad for p in model.parameters())
    assert model.state_dict().keys() == small_decoder(tied=False).state_dict().keys()
    assert model.blocks[0].attention.qkv.weight.blocks == 4  # Muon still finds the projections apart
    with torch.no_grad():
        assert torch.equal(model(tokens), together)


@KINDS
def test_with_adapters_off_the_model_is_its_base_to_the_bit(dora: bool) -> None:
    tokens, model, base = some_tokens(), adapted(dora=dora), small_decoder()
    with torch.no_grad():
        expected = base(tokens)
        with adapters_off(model):
            assert torch.equal(model(tokens), expected)
        with merged(model), adapters_off(model):  # the reference of a merged model is the base, too
            assert torch.equal(model(tokens), expected)
        assert (model(tokens) - expected).abs().max() > 0.1
        with adapters_off(base):
            assert torch.equal(base(tokens), expected)


@KINDS
def test_only_adapters_get_gradients(dora: bool) -> None:
    model = adapted(dora=dora)
    tokens = some_tokens()
    F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {name for name, _ in model.named_parameters() if ".adapters." in name}
    per_projection = 3 if dora else 2
    assert len(trained) == 2 * 7 * per_projection


def test_the_length_of_a_row_is_a_constant_to_doras_gradient() -> None:
    """In closed form for one output: y = m / ‖v‖ · v x and dy/dB = m / ‖v‖ · scale · A x, no derivative of ‖v‖."""
    torch.manual_seed(0)
    base = nn.Linear(6, 1, bias=False, dtype=torch.float64)
    a, b, m = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 6), (1, 2), (1,)))
    layer = LoraLinear(base, {"o_proj": 1}, {"o_proj": (adapter := Adapter(a, b, 0.5, m))})
    x = torch.randn(1, 6, dtype=torch.float64)
    layer(x).sum().backward()
    v = base.weight.detach() + 0.5 * b @ a
    assert adapter.B.grad is not None and adapter.magnitude is not None and adapter.magnitude.grad is not None
    torch.testing.assert_close(adapter.B.grad, m / v.norm() * 0.5 * (a @ x.T).T)
    torch.testing.assert_close(adapter.magnitude.grad, (v @ x.T).flatten() / v.norm())


def test_a_row_of_zeros_stays_finite_in_dora() -> None:
    base = nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        base.weight[1] = 0
    generator = torch.Generator().manual_seed(0)
    adapter = Adapter.new(base.weight, 2, 1.0, dora=True, generator=generator)
    layer = LoraLinear(base, {"o_proj": 3}, {"o_proj": adapter})
    out = layer(torch.randn(4, 6))
    out.sum().backward()
    assert not out[:, 1].any() and all(torch.isfinite(p.grad).all() for p in layer.adapters.parameters())


@KINDS
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rslora", [False, True])
def test_parity_a_layer_trains_as_peft_trains_it(dora: bool, bias: bool, rslora: bool) -> None:
    """The same layer and data in float64: outputs, gradients and eight steps of AdamW."""
    torch.manual_seed(0)
    theirs = nn.ModuleDict({"o_proj": nn.Linear(10, 7, bias=bias, dtype=torch.float64)})
    config = PeftConfig(r=3, lora_alpha=5, target_modules=["o_proj"], use_dora=dora, use_rslora=rslora)
    mine = copy.deepcopy(theirs["o_proj"])
    get_peft_model(theirs, config, autocast_adapter_dtype=False)
    inner = theirs["o_proj"]
    scale = LoraConfig(rank=3, alpha=5.0, rslora=rslora).scale
    assert inner.scaling["default"] == scale
    a, b = (getattr(inner, f"lora_{name}")["default"].weight for name in "AB")
    magnitude = inner.lora_magnitude_vector["default"].weight if dora else None
    adapter = Adapter(
        a.detach().clone(),
        b.detach().clone(),
        scale,
        None if magnitude is None else magnitude.detach().clone(),
    )
    layer = LoraLinear(mine, {"o_proj": 7}, {"o_proj": adapter})
    pairs = [(adapter.A, a), (adapter.B, b)] + ([(adapter.magnitude, magnitude)] if dora else [])
    optimizers = [torch.optim.AdamW(list(one), lr=0.05, weight_decay=0.1) for one in zip(*pairs, strict=True)]
    for step in range(8):
        x = torch.randn(4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        for module, optimizer in zip((layer, inner), optimizers, strict=True):
            optimizer.zero_grad()
            out = module(x)
            (out.sin() * (out + step)).sum().backward()
        for ours, peers in pairs:
            torch.testing.assert_close(ours.grad, peers.grad, rtol=1e-9, atol=1e-12)
        for optimizer in optimizers:
            optimizer.step()
        for ours, peers in pairs:
            torch.testing.assert_close(ours, peers, rtol=1e-9, atol=1e-12)
    assert (adapter.B - b.new_zeros(())).abs().max() > 0.1


def test_dropout_acts_on_adapters_in_training_alone() -> None:
    tokens, model, plain = some_tokens(), adapted(dropout=0.5), adapted()
    with torch.no_grad():
        torch.manual_seed(0)
        first, second = model(tokens), model(tokens)
        assert not torch.equal(first, second)
        with adapters_off(model):
            assert torch.equal(model(tokens), small_decoder()(tokens))
        assert torch.allclose(model.eval()(tokens), plain(tokens), atol=1e-6)
        layer = lora_layers(model.train())[0]
        x = torch.randn(1, layer.base.in_features)
        draws = torch.stack([layer(x) for _ in range(4000)])
        assert (draws.mean(0) - layer.eval()(x)).abs().max() < 6 * float(draws.std(0).max()) / 4000**0.5


@KINDS
def test_a_merged_model_generates_what_the_adapted_one_does(dora: bool) -> None:
    model = adapted(dora=dora).eval()
    prompts = [some_tokens(1, n)[0].tolist() for n in (3, 7)]
    said = generate(model, prompts, Sampling(max_new=12))
    with merged(model):
        assert [one.ids for one in generate(model, prompts, Sampling(max_new=12))] == [o.ids for o in said]
    with adapters_off(model):
        assert [one.ids for one in generate(model, prompts, Sampling(max_new=12))] != [o.ids for o in said]


def test_autocast_multiplies_adapters_in_bfloat16_and_keeps_lengths_exact() -> None:
    tokens, model = some_tokens(), adapted(dora=True)
    layer = lora_layers(model)[0]
    exact = layer.weight
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, exact)
        assert layer(torch.randn(2, 3, layer.base.in_features)).dtype == torch.bfloat16
        rough = model(tokens)
    with torch.no_grad():
        assert 0 < (rough.float() - model(tokens)).abs().max() < 0.1


def test_impossible_adapters_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lm_head of this model is its embedding"):
        add_lora(small_decoder(), LoraConfig(targets=["lm_head"], rank=2), seed=0)
    model = small_decoder()
    with pytest.raises(ConfigError, match=r"model\.layers\.0\.self_attn\.k_proj is 12 x 24.*above 12"):
        add_lora(model, LoraConfig(rank=13), seed=0)
    assert not adapters_of(model) and all(p.requires_grad for p in model.parameters())  # as it was
    add_lora(model, LoraConfig(rank=12), seed=0)
    with pytest.raises(ConfigError, match="has adapters already"):
        add_lora(model, LoraConfig(rank=2), seed=0)
    for values, complaint in (
        ({"targets": ["q_proj", "q_proj"]}, "named twice"),
        ({"targets": ["qproj"]}, "q_proj"),
        ({"targets": []}, "targets"),
        ({"rank": 0}, "rank"),
        ({"dropout": 1.0}, "dropout"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            validate(LoraConfig, values, where="lora")


@KINDS
def test_a_layer_compiles_as_one_graph_with_the_same_gradients(dora: bool) -> None:
    """Traced, with the operations run as they are: what `compile` of a stage builds on."""
    layer = lora_layers(adapted(dora=dora))[0]
    assert list(layer.rows) == ["q_proj", "k_proj", "v_proj"]
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 5, layer.base.in_features)
    found = [
        torch.autograd.grad((one(x) ** 2).sum(), list(layer.adapters.parameters()))
        for one in (layer, compiled)
    ]
    for plain, traced in zip(*found, strict=True):
        torch.testing.assert_close(plain, traced)
    with adapters_off(layer), torch.no_grad():
        assert torch.equal(compiled(x), F.linear(x, layer.base.weight))
