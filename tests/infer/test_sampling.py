from __future__ import annotations

import numpy as np
import pytest
import torch

from exnihilo.core.errors import ConfigError, ExnihiloError
from exnihilo.infer.sampling import Sampler, Sampling, keep_top_p, of_tokenizer, shape_logits, uniforms
from exnihilo.tokenizer.tokenizer import Tokenizer

VECTORS, VOCABULARY = 1000, 97


def _settings() -> list[Sampling]:
    """Every step alone, then all of them with values drawn anew."""
    draw = np.random.default_rng(5)
    mixed = [
        Sampling(
            temperature=float(draw.uniform(0.2, 3)),
            top_k=int(draw.integers(1, VOCABULARY + 20)),
            top_p=float(draw.uniform(0.05, 0.99)),
            repetition_penalty=float(draw.uniform(0.5, 2)),
        )
        for _ in range(6)
    ]
    alone = [
        Sampling(temperature=0.7),
        Sampling(temperature=1.0, top_k=5),
        Sampling(temperature=1.0, top_p=0.6),
        Sampling(temperature=1.0, top_p=1e-9),
        Sampling(temperature=1.0, repetition_penalty=1.3),
    ]
    return alone + mixed


def test_gen_6_equals_transformers_processors() -> None:
    from transformers.generation.logits_process import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(VECTORS, VOCABULARY, generator=generator) * 4
    texts = torch.randint(VOCABULARY, (VECTORS, 20), generator=generator)
    seen = torch.zeros(VECTORS, VOCABULARY, dtype=torch.bool).scatter_(1, texts, True)
    for sampling in _settings():
        reference = LogitsProcessorList()
        if sampling.repetition_penalty != 1.0:
            reference.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        reference.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            reference.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            reference.append(TopPLogitsWarper(sampling.top_p))
        expected, ours = reference(texts, logits.clone()), shape_logits(logits, sampling, seen)
        assert torch.equal(expected.isinf(), ours.isinf()), sampling
        finite = ours.isfinite()
        assert torch.allclose(expected[finite], ours[finite], rtol=1e-6), sampling


def test_gen_6_top_p_keeps_at_least_one() -> None:
    logits = torch.tensor([[0.0, 9.0, 1.0], [0.0, 0.0, 0.0]])
    assert keep_top_p(logits, 1e-12).isfinite().sum(dim=1).tolist() == [1, 1]
    assert keep_top_p(logits, 1e-12).argmax(dim=1).tolist()[0] == 1


def test_gen_6_zero_temperature_is_greedy_and_both_logprobs_are_returned() -> None:
    logits = torch.randn(50, VOCABULARY, generator=torch.Generator().manual_seed(2))
    choice = Sampler(Sampling(), [0] * 50, VOCABULARY).choose(logits, 0)
    expected = logits.log_softmax(dim=-1)
    assert torch.equal(choice.ids, logits.argmax(dim=-1))
    assert torch.allclose(choice.logprobs, expected.max(dim=-1).values, atol=1e-6)
    assert choice.sampled_logprobs.eq(0).all()

    sampling = Sampling(temperature=0.6, top_k=10, top_p=0.8)
    choice = Sampler(sampling, list(range(50)), VOCABULARY).choose(logits, 3)
    sampled = shape_logits(logits, sampling).log_softmax(dim=-1)
    assert torch.allclose(choice.logprobs, expected.gather(1, choice.ids[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(choice.sampled_logprobs, sampled.gather(1, choice.ids[:, None])[:, 0], atol=1e-5)
    assert choice.sampled_logprobs.isfinite().all()


def test_samples_follow_the_distribution() -> None:
    """20,000 draws: each frequency within 4.5 standard errors of its probability."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, float("-inf")])
    rows = 20_000
    choice = Sampler(Sampling(temperature=2.0), list(range(rows)), 6).choose(logits.expand(rows, 6), 7)
    expected = (logits / 2).softmax(dim=-1)
    found = choice.ids.bincount(minlength=6) / rows
    error = (expected * (1 - expected) / rows).sqrt()
    assert ((found - expected).abs() <= 4.5 * error).all()


def test_uniforms_of_rows_and_steps_are_independent() -> None:
    seeds = np.arange(400, dtype=np.uint64)
    table = np.stack([uniforms(seeds, step) for step in range(400)])
    assert table.min() >= 0 and table.max() < 1
    assert len(np.unique(table)) == table.size
    # 160,000 numbers, and the 1-lag correlations in both directions: standard error 1/400.
    assert abs(table.mean() - 0.5) < 4.5 * (1 / 12) ** 0.5 / 400
    for one, other in ((table[:-1], table[1:]), (table[:, :-1], table[:, 1:])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4.5 / 400


def test_tok_13_ids_beyond_the_tokenizer_are_never_sampled(tokenizer: Tokenizer) -> None:
    """The embedding is padded by 64 ids, which have the highest logits of all, as have the role tokens."""
    rules, rows = of_tokenizer(tokenizer), 4000
    width = tokenizer.vocab_size + 64
    logits = torch.zeros(rows, width)
    logits[:, tokenizer.vocab_size :] = 20.0
    logits[:, list(tokenizer.special.values())] = 10.0
    for temperature in (0.0, 5.0):
        sampler = Sampler(
            Sampling(temperature=temperature),
            list(range(rows)),
            width,
            vocab_size=rules["vocab_size"],
            banned=rules["banned"],
        )
        ids = set(sampler.choose(logits, 0).ids.tolist())
        assert max(ids) < tokenizer.vocab_size
        assert ids & set(tokenizer.special.values()) <= {tokenizer.end, tokenizer.eos}
    assert {tokenizer.end, tokenizer.eos} <= ids, "ends are among the likeliest left, so they do occur"


def test_broken_weights_are_an_error_and_not_a_token() -> None:
    with pytest.raises(ExnihiloError, match="not finite"):
        Sampler(Sampling(temperature=1.0), [0], 4).choose(torch.tensor([[0.0, float("nan"), 0.0, 0.0]]), 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_new": 0},
        {"repetition_penalty": 0.0},
        {"stop": ("",)},
        {"stop": "text"},
    ],
)
def test_impossible_settings_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]
