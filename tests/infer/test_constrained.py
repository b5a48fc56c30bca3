"""Constrained decoding through the engine: whole texts of the pattern, and nothing else changed."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import torch

from exnihilo.infer.automaton import TokenAutomaton
from exnihilo.infer.chat import ChatSession
from exnihilo.infer.engine import Engine
from exnihilo.infer.expressions import Pattern
from exnihilo.infer.generate import generate
from exnihilo.infer.json_schema import json_schema
from exnihilo.infer.json_text import json_object
from exnihilo.infer.regex import choice, regex
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.infer.score import continuation_logprobs
from exnihilo.infer.token_trie import TokenTrie
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.tokenizer import Tokenizer

PROMPT = [0, 50, 60, 70]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
}


def _automaton(pattern: Pattern, tokenizer: Tokenizer) -> TokenAutomaton:
    return TokenAutomaton(pattern, TokenTrie(tokenizer.token_bytes), of_tokenizer(tokenizer)["stop_ids"])


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_json_is_complete_whatever_the_model_wants(
    temperature: float, model: Decoder, tokenizer: Tokenizer
) -> None:
    rules, automaton = of_tokenizer(tokenizer), _automaton(json_schema(SCHEMA), tokenizer)
    # The shortest is {"name":"a","age":0}: 20 bytes and an end token, so 21 tokens at most.
    samplings = [
        Sampling(temperature=temperature, max_new=room) for room in (21, 22, 30, 60) for _ in range(6)
    ]
    out = generate(model, [PROMPT] * 24, samplings, seeds=range(24), constraints=[automaton] * 24, **rules)
    for generation, sampling in zip(out, samplings, strict=True):
        assert generation.finish == "stop" and len(generation.ids) <= sampling.max_new
        assert generation.ids[-1] in rules["stop_ids"]
        jsonschema.validate(json.loads(tokenizer.decode(generation.ids[:-1])), SCHEMA)
    if temperature:
        assert len({tuple(generation.ids) for generation in out}) > 20


def test_gen_3_rows_of_any_pattern_and_none_do_not_change_each_other(
    model: Decoder, tokenizer: Tokenizer
) -> None:
    rules, sampling = of_tokenizer(tokenizer), Sampling(temperature=1.0, max_new=20)
    pattern = r"(?:left|right) \d{1,3}[床🙂]"
    constraints = [
        _automaton(json_object(), tokenizer),
        None,
        _automaton(regex(pattern), tokenizer),
        None,
        _automaton(choice(["add", "join", "床前"]), tokenizer),
    ] * 3
    seeds = list(range(15))
    together = generate(model, [PROMPT] * 15, sampling, seeds=seeds, constraints=constraints, **rules)
    for i, generation in enumerate(together):
        (alone,) = generate(
            model, [PROMPT], sampling, seeds=seeds[i : i + 1], constraints=constraints[i : i + 1], **rules
        )
        assert alone.ids == generation.ids
        text = tokenizer.decode(generation.ids)
        match i % 5:
            case 0:
                assert isinstance(json.loads(text), dict)
            case 2:
                assert re.fullmatch(pattern, text)
            case 4:
                assert text in ("add", "join", "床前")


def test_gen_6_raw_logprobs_are_the_models_and_sampled_ones_those_of_what_was_allowed(
    model: Decoder, tokenizer: Tokenizer
) -> None:
    automaton = _automaton(regex("[ab]{3}"), tokenizer)
    rules, sampling = of_tokenizer(tokenizer), Sampling(temperature=1.0, max_new=8)
    (out,) = generate(model, [PROMPT], sampling, seeds=[3], constraints=[automaton], **rules)
    assert out.logprobs == pytest.approx(continuation_logprobs(model, [PROMPT], [out.ids])[0], abs=1e-4)
    state, text = automaton.start, list(PROMPT)
    for token, sampled in zip(out.ids, out.sampled_logprobs, strict=True):
        logits = model(torch.tensor([text]))[0, -1].detach()
        logits[~automaton.allowed(state, 8 - (len(text) - len(PROMPT)))] = float("-inf")
        assert sampled == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-4)
        state, text = automaton.advance(state, token), [*text, token]
    assert any(sampled < -0.1 for sampled in out.sampled_logprobs), "there was a choice"


def test_many_samples_of_one_prompt_share_an_automaton(model: Decoder, tokenizer: Tokenizer) -> None:
    automaton = _automaton(choice(["yes", "no"]), tokenizer)
    engine = Engine(model, **of_tokenizer(tokenizer))
    requests = [
        engine.submit(PROMPT, Sampling(temperature=3.0), seed=seed, constraint=automaton)
        for seed in range(40)
    ]
    engine.run()
    said = [tokenizer.decode(request.ids) for request in requests]
    assert set(said) == {"yes", "no"}
    assert {request.finish for request in requests} == {"stop"}


def test_a_conversation_may_be_constrained(model: Decoder, tokenizer: Tokenizer) -> None:
    session = ChatSession(
        model, tokenizer, sampling=Sampling(max_new=24), constraint=_automaton(json_object(), tokenizer)
    )
    for question in ("join?", "add?"):
        assert isinstance(json.loads("".join(session.send(question))), dict)
    assert [message["role"] for message in session.messages] == ["user", "assistant"] * 2
