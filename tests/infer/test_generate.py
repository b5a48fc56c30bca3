from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from exnihilo.core.errors import ConfigError
from exnihilo.infer.generate import Generation, generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.tokenizer import Tokenizer

MakeModel = Callable[..., Decoder]


def _prompts(count: int, longest: int = 40, seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    prompts = [[0] + [draw.randrange(8, 300) for _ in range(draw.randrange(longest))] for _ in range(count)]
    return prompts + prompts[:3] * 2


def _naive(
    model: Decoder, prompt: list[int], new: int, stop_ids: tuple[int, ...], banned: tuple[int, ...]
) -> list[int]:
    """Greedy decoding with the full forward pass for each token: the reference."""
    ids: list[int] = []
    while len(ids) < new and (not ids or ids[-1] not in stop_ids):
        logits = model(torch.tensor([prompt + ids]))[0, -1]
        logits[list(banned)] = float("-inf")
        ids.append(int(logits.argmax()))
    return ids


@torch.inference_mode()
def test_gen_3_batched_greedy_equals_the_full_forward_pass(model: Decoder, tokenizer: Tokenizer) -> None:
    rules = of_tokenizer(tokenizer)
    prompts = _prompts(20)
    out = generate(model, prompts, Sampling(max_new=24), **rules)
    for prompt, generation in zip(prompts, out, strict=True):
        assert generation.ids == _naive(model, prompt, 24, rules["stop_ids"], rules["banned"])
    assert len({tuple(g.ids) for g in out}) > 10, "the model says different things, so the test can fail"


def _same(one: Generation, other: Generation) -> None:
    assert one.ids == other.ids and one.finish == other.finish
    assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert one.sampled_logprobs == pytest.approx(other.sampled_logprobs, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_gen_3_a_row_is_the_same_in_any_batch(
    temperature: float, model: Decoder, tokenizer: Tokenizer
) -> None:
    # Stopping at 8 ids makes rows end at different steps, so that the batch is compacted several times.
    rules = of_tokenizer(tokenizer) | {"stop_ids": tuple(range(100, 108))}
    sampling = Sampling(temperature=temperature, max_new=30, repetition_penalty=1.1 if temperature else 1.0)
    prompts = _prompts(24)
    seeds = [7 * i + 1 for i in range(len(prompts))]
    together = generate(model, prompts, sampling, seeds=seeds, **rules)
    assert {g.finish for g in together} == {"stop", "length"}
    assert len({len(g.ids) for g in together}) > 5
    small = generate(model, prompts[::-1], sampling, seeds=seeds[::-1], max_batch=4, **rules)[::-1]
    for i, generation in enumerate(together):
        _same(generation, small[i])
        _same(generation, generate(model, [prompts[i]], sampling, seeds=[seeds[i]], **rules)[0])


def test_gen_3_equal_prompts_with_equal_seeds_agree_and_with_others_differ(model: Decoder) -> None:
    prompt = [0, 50, 60, 70]
    out = generate(model, [prompt] * 6, Sampling(temperature=1.0, max_new=16), seeds=[1, 2, 3, 1, 2, 3])
    assert [g.ids for g in out[:3]] == [g.ids for g in out[3:]]
    assert len({tuple(g.ids) for g in out}) == 3


def test_logprobs_are_those_of_the_model(model: Decoder) -> None:
    from exnihilo.infer.score import continuation_logprobs

    prompts = _prompts(6)
    out = generate(model, prompts, Sampling(temperature=0.7, top_k=20, max_new=12), seeds=range(len(prompts)))
    scores = continuation_logprobs(model, prompts, [g.ids for g in out])
    for generation, score in zip(out, scores, strict=True):
        assert generation.logprobs == pytest.approx(score, abs=1e-4)
    pairs = [pair for g in out for pair in zip(g.sampled_logprobs, g.logprobs, strict=True)]
    assert sum(sampled > raw for sampled, raw in pairs) > len(pairs) / 2, (
        "a narrower distribution was sampled"
    )


@torch.inference_mode()
def test_each_row_has_the_context_that_its_own_prompt_leaves(
    make_model: MakeModel, tokenizer: Tokenizer
) -> None:
    """The long row fills the cache and ends; the short one goes on, to the length it reaches alone."""
    model = make_model(tokenizer.vocab_size, max_length=32)
    prompts = [[0] + [40] * 27, [0, 41], [0] + [42] * 12]
    out = generate(model, prompts, Sampling(max_new=200), seeds=[0, 1, 2])
    assert [len(g.ids) for g in out] == [4, 30, 19]
    assert {g.finish for g in out} == {"length"}
    for prompt, generation in zip(prompts, out, strict=True):
        assert generation.ids == _naive(model, prompt, 32 - len(prompt), (), ())


def test_long_prompts_are_prefilled_in_parts(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = _prompts(9)
    whole = generate(model, prompts, Sampling(max_new=6))
    for tokens in (30, 7):
        monkeypatch.setattr("exnihilo.infer.admission.PREFILL_TOKENS", tokens)
        for one, other in zip(whole, generate(model, prompts, Sampling(max_new=6)), strict=True):
            _same(one, other)


def test_tok_13_a_padded_vocabulary_is_never_sampled(make_model: MakeModel, tokenizer: Tokenizer) -> None:
    padded = make_model(tokenizer.vocab_size + 64)
    rules = of_tokenizer(tokenizer)
    out = generate(padded, [[0, 30]] * 64, Sampling(temperature=5.0, max_new=20), seeds=range(64), **rules)
    ids = {i for generation in out for i in generation.ids}
    assert max(ids) < tokenizer.vocab_size and not ids & set(rules["banned"])
    assert len(ids) > 250


def test_model_1_one_token_and_empty_prompts_work(model: Decoder) -> None:
    empty, bos, other = generate(model, [[], [0], [50]], Sampling(max_new=8), bos=0)
    assert empty.ids == bos.ids and len(bos.ids) == len(other.ids) == 8
    assert generate(model, [], Sampling()) == []


def test_stop_strings_end_a_row(model: Decoder, tokenizer: Tokenizer) -> None:
    rules = of_tokenizer(tokenizer)
    prompts = _prompts(5)
    free = generate(model, prompts, Sampling(max_new=20), **rules)
    text = tokenizer.decode(free[0].ids)
    stop = text[len(text) // 2 :][:2]
    cut = generate(model, prompts, Sampling(max_new=20, stop=(stop,)), **rules)
    assert cut[0].finish == "stop" and len(cut[0].ids) < len(free[0].ids)
    assert stop in tokenizer.decode(cut[0].ids) and stop not in tokenizer.decode(cut[0].ids[:-1])
    for one, other in zip(cut, free, strict=True):
        assert one.ids == other.ids[: len(one.ids)]
    with pytest.raises(ConfigError, match="token_bytes"):
        generate(model, prompts, Sampling(stop=("x",)))


def test_progress_counts_every_row_once(model: Decoder) -> None:
    prompts, counts = _prompts(10), []
    generate(
        model, prompts, Sampling(max_new=10), stop_ids=range(60, 120), max_batch=4, progress=counts.append
    )
    assert sum(counts) == len(prompts) and min(counts) >= 1


def test_without_seeds_torch_decides(model: Decoder) -> None:
    def run() -> list[int]:
        return generate(model, [[0, 9]], Sampling(temperature=1.0, max_new=12))[0].ids

    torch.manual_seed(4)
    first, second = run(), run()
    torch.manual_seed(4)
    assert first == run() and first != second


def test_what_does_not_fit_is_refused(model: Decoder) -> None:
    with pytest.raises(ConfigError, match="prompt 1 has 96 tokens"):
        generate(model, [[0], [5] * 96], Sampling())
    with pytest.raises(ConfigError, match="1 seeds for 2 prompts"):
        generate(model, [[0], [1]], Sampling(), seeds=[1])
