"""Requests that join, leave, share and fail: each generates what it would alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from exnihilo.core.errors import ConfigError, ExnihiloError
from exnihilo.infer.engine import Engine
from exnihilo.infer.generate import generate
from exnihilo.infer.requests import Request
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.cached import cached_hidden
from exnihilo.model.decode import DecodeStep
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.tokenizer import Tokenizer

SETTINGS = [
    Sampling(max_new=20),
    Sampling(temperature=1.0, max_new=14),
    Sampling(temperature=0.8, top_k=30, max_new=9),
    Sampling(temperature=1.2, top_p=0.9, max_new=25, repetition_penalty=1.2),
    Sampling(max_new=30, stop_ids=tuple(range(40, 70))),
    Sampling(temperature=1.0, max_new=1),
]


def _ids(draw: random.Random, count: int) -> list[int]:
    return [draw.randrange(8, 300) for _ in range(count)]


def _prompts(draw: random.Random, count: int) -> list[list[int]]:
    """Prompts of which some are equal, some share a header, and some share nothing."""
    headers = [[0], [0, *_ids(draw, 25)], [0, *_ids(draw, 9)]]
    prompts = [draw.choice(headers) + _ids(draw, draw.choice([0, 1, 4, 20])) for _ in range(count)]
    return [draw.choice(prompts) if draw.random() < 0.3 else prompt for prompt in prompts]


def _same(request: Request, other: Request) -> None:
    assert request.ids == other.ids and request.finish == other.finish
    assert request.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert request.sampled_logprobs == pytest.approx(other.sampled_logprobs, abs=1e-4)


def _alone(model: Decoder, request: Request) -> Request:
    engine = Engine(model)
    single = engine.submit(request.prompt, request.sampling, seed=request.seed)
    engine.run()
    return single


@pytest.fixture(params=[250_000, 1, 10**9], ids=["as it pays", "always", "never"])
def sharing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call of attention is said to cost decides who is read together."""
    for room in ("admission", "pool"):
        monkeypatch.setattr(f"exnihilo.infer.{room}.CALL_BYTES", request.param)


@pytest.fixture
def read_tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of each pass."""
    counts: list[int] = []

    def counted(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def read(first: object, tokens: torch.Tensor, *more: object) -> torch.Tensor:
            counts.append(tokens.numel())
            return original(first, tokens, *more)

        return read

    monkeypatch.setattr("exnihilo.infer.passes.cached_hidden", counted(cached_hidden))
    monkeypatch.setattr(DecodeStep, "hidden", counted(DecodeStep.hidden))
    return counts


@pytest.mark.usefixtures("sharing")
def test_gen_3_requests_join_and_leave_at_any_step(model: Decoder) -> None:
    """36 requests of six settings come while others run, four of them are given up; few rows, many steps."""
    draw = random.Random(1)
    engine = Engine(model, max_rows=7)
    requests: list[Request] = []
    for seed, prompt in enumerate(_prompts(draw, 36)):
        requests.append(engine.submit(prompt, SETTINGS[seed % len(SETTINGS)], seed=seed))
        for _ in range(draw.choice([0, 0, 1, 3])):
            engine.step()
            assert engine.running <= 7
        if seed % 9 == 8:
            engine.cancel(draw.choice([r for r in requests if r.finish is None]))
    engine.run()
    assert engine.running == engine.waiting == 0 and engine.pool.groups == []
    given_up = [request for request in requests if request.finish == "cancelled"]
    assert len(given_up) == 4
    for request in requests:
        single = _alone(model, request)
        if request in given_up:
            assert single.ids[: len(request.ids)] == request.ids
        else:
            _same(request, single)


@pytest.mark.usefixtures("sharing")
def test_gen_3_matrices_in_shards_change_nothing(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(2)
    prompts = _prompts(draw, 12)
    samplings = [SETTINGS[i % 2] for i in range(12)]
    plain = generate(model, prompts, samplings, seeds=range(12))
    monkeypatch.setattr("exnihilo.infer.passes.STEPS_TO_LAY_OUT", 1)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    for one, other in zip(plain, generate(model, prompts, samplings, seeds=range(12)), strict=True):
        assert one.ids == other.ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_perf_8_samples_of_one_prompt_read_it_once(model: Decoder, read_tokens: list[int]) -> None:
    prompt = [0, *range(20, 60)]
    out = generate(model, [prompt] * 64, Sampling(temperature=1.0, max_new=2), seeds=range(64))
    assert read_tokens == [41, 64], "the prompt, then one token of each sample"
    assert len({tuple(g.ids) for g in out}) > 30


def test_perf_8_a_common_header_is_read_once(
    model: Decoder, read_tokens: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exnihilo.infer.admission.CALL_BYTES", 1000)
    draw = random.Random(3)
    header = [0, *_ids(draw, 40)]
    endings = [_ids(draw, 1 + i % 5) for i in range(20)]
    engine = Engine(model, max_rows=8)
    first = [engine.submit(header + ending, Sampling(max_new=3)) for ending in endings]
    engine.step()
    (group,) = engine.pool.groups
    ((prefix, slots),) = group.sharing
    assert prefix.tokens == header and len(slots) == 8, "and it is shared by the rows that run"
    assert sum(read_tokens) == 41 + sum(map(len, endings[:8]))
    engine.run()
    decoded = sum(len(request.ids) - 1 for request in first)
    assert sum(read_tokens) == 41 + sum(map(len, endings)) + decoded, (
        "those that came later read their ends only"
    )
    late = engine.submit([*header, 77], Sampling(max_new=3))
    engine.run()
    assert late.prefilled == 1, "the header is kept when nobody runs"
    _same(late, _alone(model, late))


def test_samples_of_several_prompts_are_one_group(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own tokens are read by one call, each prompt by one of its own, also when some of them have left."""
    monkeypatch.setattr("exnihilo.infer.admission.CALL_BYTES", 1)
    draw = random.Random(6)
    prompts = [_ids(draw, length) for length in (30, 17, 44, 30)]
    engine = Engine(model)
    requests = [
        engine.submit(prompt, Sampling(temperature=1.0, max_new=3 + 2 * (i % 4)), seed=10 * at + i)
        for i in range(5)
        for at, prompt in enumerate(prompts)
    ]
    engine.step()
    (group,) = engine.pool.groups
    assert [prefix.tokens for prefix, _ in group.sharing] == prompts
    for _ in range(4):
        engine.step()
    slots = [slot for _, taken in group.sharing for slot in taken]
    assert len(slots) == 8 and sorted(slots) == list(range(8)) != slots, "those that are left have moved"
    requests += [
        engine.submit(prompts[2], Sampling(max_new=4)),
        engine.submit(prompts[0][:20], Sampling(max_new=4)),
    ]
    engine.run()
    assert not engine.pool.groups and engine.pool.shared(prompts[2]) is None
    for request in requests:
        _same(request, _alone(model, request))


def test_rows_of_very_different_lengths_are_read_apart(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of this model has 128 bytes in a layer: with a call at 640 bytes, ten columns may be read for nothing."""
    monkeypatch.setattr("exnihilo.infer.pool.CALL_BYTES", 640)
    draw = random.Random(4)
    engine = Engine(model)
    lengths = [60, 59, 57, 30, 29, 5, 4, 4]
    requests = [engine.submit(_ids(draw, length), Sampling(max_new=12)) for length in lengths]
    engine.step()
    assert [len(group) for group in engine.pool.groups] == [3, 2, 3]
    engine.run()
    for request in requests:
        _same(request, _alone(model, request))


def test_a_kept_text_is_gone_on_with(model: Decoder) -> None:
    engine = Engine(model)
    first = engine.submit([0, 50, 60, 70, 80], Sampling(temperature=1.0, max_new=7), seed=5, keep=True)
    other = engine.submit([0, 51], Sampling(max_new=4))
    engine.run()
    text = first.prompt + first.ids
    longer = engine.submit([*text, 90, 91], Sampling(max_new=5))
    branch = engine.submit([*text[:8], 92], Sampling(max_new=5))
    engine.run()
    assert other.prefilled == 2
    assert longer.prefilled == 3, "the last token was chosen and not read, and two are new"
    assert branch.prefilled == 1
    for request in (longer, branch):
        _same(request, _alone(model, request))


def test_what_is_kept_has_a_limit_but_the_newest_stays(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(model)
    tokens = engine.pool.shape.token_bytes
    monkeypatch.setattr("exnihilo.infer.pool.KEPT_BYTES", 25 * tokens)
    for first, length in ((10, 9), (11, 9), (12, 9), (13, 40)):
        engine.submit([first] * length, Sampling(max_new=2), keep=True)
        engine.run()
        kept = [prefix.tokens[0] for prefix in engine.pool.kept]
        assert kept[-1] == first and (len(kept) == 1 or 10 * len(kept) <= 25)
    assert kept == [13]


def test_streams_take_turns_and_steps_are_shared(model: Decoder, read_tokens: list[int]) -> None:
    engine = Engine(model)
    requests = [engine.submit([0, 30 + i], Sampling(max_new=6 + i)) for i in range(3)]
    streams = [engine.stream(request) for request in requests]
    heard: list[list[int]] = [[], [], []]
    for _ in range(20):
        for stream, tokens in zip(streams, heard, strict=True):
            tokens.extend(token for token in [next(stream, None)] if token is not None)
    assert heard == [request.ids for request in requests]
    assert [len(tokens) for tokens in heard] == [6, 7, 8]
    assert read_tokens == [6, 3, 3, 3, 3, 3, 2, 1], "eight steps in all"


def test_closing_a_stream_frees_its_row(model: Decoder) -> None:
    engine = Engine(model, max_rows=1)
    first, second = (engine.submit([0, 40], Sampling(max_new=10)) for _ in range(2))
    stream = engine.stream(first)
    heard = [next(stream), next(stream)]
    assert engine.running == 1 and engine.waiting == 1
    stream.close()
    assert first.finish == "cancelled" and first.ids == heard and engine.running == 0
    with pytest.raises(ExnihiloError, match="cancelled"):
        _ = first.generation
    engine.run()
    assert second.ids[:2] == heard and second.finish == "length"
    waiting = engine.submit([0], Sampling())
    engine.cancel(waiting)
    assert engine.waiting == 0 and waiting.finish == "cancelled"


def _interrupted(*_: object) -> torch.Tensor:
    raise KeyboardInterrupt


def test_after_an_interrupted_step_the_engine_works(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model, max_rows=2)
    requests = [engine.submit([0, 30 + i], Sampling(max_new=6)) for i in range(3)]
    streams = [engine.stream(request) for request in requests]
    next(streams[0])
    with monkeypatch.context() as patched:
        patched.setattr(DecodeStep, "hidden", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(streams[0])
    assert [request.finish for request in requests] == ["failed", "failed", None]
    with pytest.raises(ExnihiloError, match="broken off"):
        list(streams[1])
    assert list(streams[2]) == _alone(model, requests[2]).ids


def test_gen_2_stop_strings_of_single_requests_end_them_across_token_borders(
    model: Decoder, tokenizer: Tokenizer
) -> None:
    """A stop of two letters: the last of one token and the first of the next."""
    rules = of_tokenizer(tokenizer)
    prompts = [[0, 60 + i] for i in range(8)]
    free = generate(model, prompts, Sampling(temperature=1.0, max_new=30), seeds=range(8), **rules)
    samplings, ends = [], []
    for row, generation in enumerate(free):
        texts = [tokenizer.token_bytes[i] for i in generation.ids]
        borders = [
            i
            for i in range(5, len(texts) - 1)
            if (texts[i - 1] and texts[i] and (texts[i - 1] + texts[i]).isascii())
        ]
        at = borders[0] if borders and row % 4 else None  # every fourth has no stop
        stop = () if at is None else ((texts[at - 1][-1:] + texts[at][:1]).decode(),)
        samplings.append(Sampling(temperature=1.0, max_new=30, stop=stop))
        ends.append(at)
    assert sum(at is not None for at in ends) >= 3
    out = generate(model, prompts, samplings, seeds=range(8), **rules)
    for generation, whole, sampling, at in zip(out, free, samplings, ends, strict=True):
        if at is None:
            assert generation.ids == whole.ids and generation.finish == whole.finish
            continue
        text = b"".join(tokenizer.token_bytes[i] for i in whole.ids[: at + 1])
        first = at if text.count(sampling.stop[0].encode()) == 1 else len(generation.ids) - 1
        assert generation.finish == "stop" and generation.ids == whole.ids[: first + 1]
        assert sampling.stop[0] in tokenizer.decode(generation.ids)
        assert sampling.stop[0] not in tokenizer.decode(generation.ids[:-1])


class Alternating:
    """Even and odd ids in turn, and what may still be written."""

    start = 0

    def __init__(self, width: int) -> None:
        self.even = torch.arange(width) % 2 == 0
        self.budgets: list[int | None] = []

    def allowed(self, state: int, budget: int | None = None) -> torch.Tensor:
        self.budgets.append(budget)
        return self.even if state == 0 else ~self.even

    def advance(self, state: int, token: int) -> int:
        return 1 - state


def test_a_constrained_row_keeps_to_it_and_its_logprobs_are_the_models(model: Decoder) -> None:
    prompts = [[0, 30], [0, 31], [0, 32]]
    constraint = Alternating(model.config.vocab_size)
    sampling = Sampling(temperature=1.0, max_new=10)
    out = generate(model, prompts, sampling, seeds=[1, 2, 3], constraints=[None, constraint, None])
    free = generate(model, prompts, sampling, seeds=[1, 2, 3])
    assert [i % 2 for i in out[1].ids] == [0, 1] * 5 and out[1].ids != free[1].ids
    assert constraint.budgets == list(range(10, 0, -1))
    assert out[0].ids == free[0].ids and out[2].ids == free[2].ids
    text = prompts[1] + out[1].ids
    raw = model(torch.tensor([text[:-1]]))[0, 1:].log_softmax(-1)
    expected = raw.gather(1, torch.tensor(out[1].ids)[:, None])[:, 0].tolist()
    assert out[1].logprobs == pytest.approx(expected, abs=1e-4)
    assert all(drawn > raw for drawn, raw in zip(out[1].sampled_logprobs, out[1].logprobs, strict=True))


def test_requests_wait_while_the_pool_could_fill(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(model)
    monkeypatch.setattr("exnihilo.infer.engine.POOL_BYTES", 50 * engine.pool.shape.token_bytes)
    requests = [engine.submit([0, 40 + i], Sampling(max_new=20)) for i in range(5)]
    engine.step()
    assert engine.running == 2 and engine.waiting == 3
    large = engine.submit([0] * 60, Sampling(max_new=20))
    engine.run()
    assert {request.finish for request in [*requests, large]} == {"length"}


@torch.inference_mode()
def test_generation_under_autocast_stays_close(
    make_model: Callable[..., Decoder], tokenizer: Tokenizer
) -> None:
    """Products in bfloat16, keys and attention in float32."""
    model = make_model(tokenizer.vocab_size, spread=0.1)
    prompts = [[0, *range(20, 50)]] * 5 + [[0, 30], [0, 31, 32]]
    exact = generate(model, prompts, Sampling(max_new=1))
    with torch.autocast("cpu", torch.bfloat16):
        out = generate(model, prompts, Sampling(max_new=12))
    for one, other in zip(exact, out, strict=True):
        assert len(other.ids) == 12
        assert one.logprobs[0] == pytest.approx(other.logprobs[0], abs=0.05)


def test_what_cannot_be_asked_is_refused(model: Decoder) -> None:
    engine = Engine(model)
    with pytest.raises(ConfigError, match="96 tokens"):
        engine.submit([5] * 96)
    with pytest.raises(ConfigError, match="token_bytes"):
        engine.submit([5], Sampling(stop=("x",)))
    with pytest.raises(ConfigError, match="2 samplings for 1 prompts"):
        generate(model, [[5]], [Sampling(), Sampling()])
    with pytest.raises(ExnihiloError, match="still running"):
        _ = engine.submit([5]).generation
