from __future__ import annotations

import numpy as np
import pytest
import torch

from exnihilo.core.errors import ConfigError, ExnihiloError
from exnihilo.infer.sampling import (
    Choice,
    Draw,
    Sampler,
    Sampling,
    keep_top_p,
    never_sampled,
    of_tokenizer,
    shape_logits,
    uniforms,
)
from exnihilo.tokenizer.tokenizer import Tokenizer

VECTORS, VOCABULARY = 1000, 97


def _choose(sampling: Sampling, logits: torch.Tensor, step: int = 0) -> Choice:
    """One draw for every row, with the row's number as seed."""
    draws = [Draw(sampling, seed, step) for seed in range(len(logits))]
    return Sampler(draws, never_sampled(logits.shape[1])).choose(logits.clone())


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
    choice = _choose(Sampling(), logits)
    expected = logits.log_softmax(dim=-1)
    assert torch.equal(choice.ids, logits.argmax(dim=-1))
    assert torch.allclose(choice.logprobs, expected.max(dim=-1).values, atol=1e-6)
    assert choice.sampled_logprobs.eq(0).all()

    sampling = Sampling(temperature=0.6, top_k=10, top_p=0.8)
    choice = _choose(sampling, logits, 3)
    sampled = shape_logits(logits, sampling).log_softmax(dim=-1)
    assert torch.allclose(choice.logprobs, expected.gather(1, choice.ids[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(choice.sampled_logprobs, sampled.gather(1, choice.ids[:, None])[:, 0], atol=1e-5)
    assert choice.sampled_logprobs.isfinite().all()


def test_samples_follow_the_distribution() -> None:
    """20,000 draws: each frequency within 4.5 standard errors of its probability."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, float("-inf")])
    rows = 20_000
    with pytest.raises(ExnihiloError, match="not finite"):
        _choose(Sampling(temperature=2.0), torch.full((1, 6), float("-inf")))
    choice = _choose(Sampling(temperature=2.0), logits.expand(rows, 6), 7)
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
        draws = [Draw(Sampling(temperature=temperature), seed) for seed in range(rows)]
        sampler = Sampler(draws, never_sampled(width, rules["vocab_size"], rules["banned"]))
        ids = set(sampler.choose(logits.clone()).ids.tolist())
        assert max(ids) < tokenizer.vocab_size
        assert ids & set(tokenizer.special.values()) <= {tokenizer.end, tokenizer.eos}
    assert {tokenizer.end, tokenizer.eos} <= ids, "ends are among the likeliest left, so they do occur"


def test_broken_weights_are_an_error_and_not_a_token() -> None:
    with pytest.raises(ExnihiloError, match="not finite"):
        _choose(Sampling(temperature=1.0), torch.tensor([[0.0, float("nan"), 0.0, 0.0]]))


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


def test_rows_of_many_settings_are_drawn_as_each_alone() -> None:
    """Greedy, warm, cut and penalised rows in one batch, over six steps."""
    kinds = [*_settings(), Sampling(), Sampling(temperature=1.0)]
    samplings = [kinds[i % len(kinds)] for i in range(4 * len(kinds))]
    never = never_sampled(VOCABULARY, 90, [3, 4])

    def draws() -> list[Draw]:
        return [
            Draw(sampling, 17 * i, i % 5, torch.zeros(VOCABULARY, dtype=torch.bool))
            for i, sampling in enumerate(samplings)
        ]

    together, alone = Sampler(draws(), never), [Sampler([draw], never) for draw in draws()]
    drawn: list[set[int]] = [set() for _ in samplings]
    for step in range(6):
        logits = torch.randn(len(samplings), VOCABULARY, generator=torch.Generator().manual_seed(step)) * 3
        choice = together.choose(logits.clone())
        for i, sampler in enumerate(alone):
            single = sampler.choose(logits[i : i + 1].clone())
            assert int(single.ids) == int(choice.ids[i])
            assert float(single.logprobs) == pytest.approx(float(choice.logprobs[i]), abs=1e-5)
            assert float(single.sampled_logprobs) == pytest.approx(
                float(choice.sampled_logprobs[i]), abs=1e-5
            )
            drawn[i].add(int(single.ids))
    assert all(len(ids) > 1 for ids in drawn) and not {3, 4} & set().union(*drawn)


def test_a_row_takes_only_what_is_allowed_and_its_raw_logprob_is_the_models() -> None:
    logits = torch.tensor([[0.0, 5.0, 1.0, 2.0], [0.0, 5.0, 1.0, 2.0]])
    allowed = {1: torch.tensor([True, False, True])}  # shorter than the logits: what is beyond is not allowed
    choice = Sampler([Draw(Sampling(), 0), Draw(Sampling(), 0)], never_sampled(4)).choose(
        logits.clone(), allowed
    )
    assert choice.ids.tolist() == [1, 2]
    assert torch.allclose(choice.logprobs, logits.log_softmax(-1)[[0, 1], [1, 2]])
