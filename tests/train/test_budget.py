from __future__ import annotations

import pytest
import torch
from tiny_runs import CountingRows
from torch.utils.flop_counter import FlopCounterMode

from exnihilo.model.causal_attention import tiles
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.causal import causal
from exnihilo.tokens.batch import Batch
from exnihilo.train.budget import Plan, batch_flops, derive, estimated_cost, flops_per_token
from exnihilo.train.config import ModelShape, OptimizerConfig

SIZES = [
    {"vocab_size": 512, "width": 64, "depth": 2, "heads": 2, "kv_heads": 2, "head_dim": 32, "hidden": 176},
    {"vocab_size": 2048, "width": 96, "depth": 3, "heads": 6, "kv_heads": 2, "head_dim": 24, "hidden": 256},
    {"vocab_size": 300, "width": 128, "depth": 5, "heads": 2, "kv_heads": 1, "head_dim": 32, "hidden": 320},
]


def whole_rows(config: DecoderConfig, rows: int, length: int) -> Batch:
    tokens = torch.randint(config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(length).repeat(rows, 1)
    return Batch(tokens, positions, torch.zeros_like(tokens), tokens.roll(-1, 1), torch.ones(rows, length))


@pytest.mark.parametrize("length", [48, 160])
@pytest.mark.parametrize("size", range(3))
@pytest.mark.parametrize("tied", [True, False])
def test_perf_3_flops_are_within_one_percent_of_a_counter(size: int, length: int, tied: bool) -> None:
    """The counter sees attention by tiles: that of each position to all keys up to the end of its tile."""
    config = DecoderConfig(**SIZES[size], tied=tied, max_length=length)
    model = Decoder(config)
    batch = whole_rows(config, 2, length)
    with FlopCounterMode(display=False) as counter:
        causal(model, batch).total.backward()
    mean_keys = sum((end - start) * end for start, end in tiles(length)) / length
    expected = 2 * length * flops_per_token(config, mean_keys)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_perf_3_packing_and_masks_count_the_keys_attended_and_the_heads_used() -> None:
    config = DecoderConfig(**SIZES[0], max_length=64)
    full = whole_rows(config, 3, 20)
    assert batch_flops(config, full) == pytest.approx(60 * flops_per_token(config, 10.5))

    packed = whole_rows(config, 1, 20)
    packed.segments[0, 5:15], packed.segments[0, 15:] = 1, -1  # documents of 5 and 10, and padding
    packed.positions[0, 5:15], packed.positions[0, 15:] = torch.arange(10), 0
    packed.weights[0] = 0
    packed.weights[0, :4] = 1
    keys = sum(range(1, 6)) + sum(range(1, 11))
    head = config.vocab_size * config.width
    blocks = config.multiplying_parameters - head
    expected = 6 * (15 * blocks + 4 * head) + 12 * config.depth * config.attention_width * keys
    assert batch_flops(config, packed) == pytest.approx(expected)
    assert CountingRows().next(0).tokens.shape == (4, 12)


def plan(shape: ModelShape | None = None, optimizer: OptimizerConfig | None = None, **given: int) -> Plan:
    known = {"vocab_size": 2048, "corpus_tokens": 10_000_000, **given}
    return derive(shape or ModelShape(), optimizer or OptimizerConfig(), **known)


@pytest.mark.parametrize("params", [200_000, 1_000_000, 2_600_000, 3_000_000, 10_000_000, 125_000_000])
def test_one_dial_params(params: int) -> None:
    decoder = plan(ModelShape(params=params)).decoder
    assert decoder.parameters == pytest.approx(params, rel=0.05 if params > 2_000_000 else 0.15)
    if params <= 3_000_000:
        assert sum(p.numel() for p in Decoder(decoder).parameters()) == decoder.parameters
    assert 20 <= decoder.width / decoder.depth <= 100
    assert decoder.heads * decoder.head_dim <= decoder.width


def test_one_dial_depth_and_explicit_values() -> None:
    deep = plan(ModelShape(depth=12)).decoder
    assert (deep.depth, deep.width, deep.heads, deep.head_dim) == (12, 576, 9, 64)
    given = ModelShape(
        depth=3, width=80, heads=4, kv_heads=2, head_dim=10, hidden=99, tied=False, max_length=33
    )
    decoder = plan(given).decoder
    assert decoder.model_dump(
        exclude={"rope_theta", "norm_eps", "vocab_size", "layout", "rope_scaling"}
    ) == given.model_dump(exclude={"rope_theta", "params"})
    with pytest.raises(ValueError, match="must be a multiple of kv_heads"):
        plan(ModelShape(depth=2, width=64, heads=4, kv_heads=3))
    with pytest.raises(ValueError, match="params and depth both set the size"):
        ModelShape(params=100_000, depth=2)


def test_derived_lengths_of_training() -> None:
    short = plan(ModelShape(params=2_600_000), train_tokens=2_500_000)
    assert (short.rows, short.length, short.steps) == (8, 256, 1221)  # 2,048 tokens a step, as tried
    assert short.decoder.max_length == 256
    long = plan(ModelShape(params=125_000_000), train_tokens=2_500_000_000)
    assert (long.rows, long.length) == (32, 2048)  # 31.6 times the root
    by_steps = plan(ModelShape(params=2_600_000), steps=1221)
    assert (by_steps.rows, by_steps.length, by_steps.steps) == (8, 256, 1221)
    nothing = plan(corpus_tokens=4_000_000)
    assert nothing.decoder.parameters == pytest.approx(800_000, rel=0.05)  # 4 epochs at 20 tokens a parameter
    assert nothing.steps * nothing.rows * nothing.length == pytest.approx(16_000_000, rel=0.01)
    large_corpus = plan(ModelShape(params=2_600_000))
    trained = large_corpus.steps * large_corpus.rows * large_corpus.length
    assert trained == pytest.approx(40_000_000, rel=0.01)  # never more than 4 epochs
    given = plan(ModelShape(depth=2), steps=7, rows=3, length=50)
    assert (given.steps, given.rows, given.length) == (7, 3, 50)


def test_derived_rates_and_reasons() -> None:
    muon = plan(ModelShape(depth=4))
    assert (muon.optimizer.lr, muon.optimizer.lr_embedding) == (0.02, 0.004)
    wide = plan(ModelShape(depth=4, width=768), OptimizerConfig(name="adamw"))
    assert wide.optimizer.lr == pytest.approx(0.0015)
    kept = plan(ModelShape(depth=4), OptimizerConfig(lr=0.0, lr_embedding=0.5))
    assert (kept.optimizer.lr, kept.optimizer.lr_embedding) == (0.0, 0.5)
    for setting in (
        "depth 4, width 192",
        "vocabulary of 2048 takes",
        "rows",
        "length",
        "steps",
        "optimizer.lr 0.02",
    ):
        assert any(setting in reason for reason in muon.reasons), setting
    assert not any("optimizer" in reason for reason in kept.reasons)


def test_estimate_of_a_dry_run() -> None:
    decoder = DecoderConfig(**SIZES[0], max_length=64)
    lines = estimated_cost(decoder, 10, 4, 32, None, torch.float32)
    flops = 1280 * flops_per_token(decoder, 16.5)
    assert lines[0] == f"1280 tokens, {flops / 1e9:.3g}G FLOPs"
    assert "of memory" in lines[2]
