"""Rollouts with tools: one transcript of ids, what a tool said is read and not trained on, and its use is learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.answer_rows import pack
from exnihilo.align.gae import generalised_advantages
from exnihilo.align.grpo import GrpoConfig, grpo
from exnihilo.align.ppo import PPOConfig
from exnihilo.align.ppo import run as ppo
from exnihilo.align.ppo_rollouts import _by_response
from exnihilo.align.responses import Response, Sampler
from exnihilo.align.rollouts import Rollouts
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.infer.sampling import Sampling
from exnihilo.infer.tool_turns import ToolTurns
from exnihilo.infer.tools import Tool, tool
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import save_model
from exnihilo.objectives.policy import SAMPLED, PolicyGradient
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from random_decoder import random_decoder
from random_rollouts import Judge

SUM, VALUE = "4096*4097", "16781312"
"""Nobody says the value by chance: it is eight tokens, which the model has only read from the calculator."""
CALL = json.dumps({"name": "calculator", "arguments": {"expression": SUM}})
QUESTION = {"role": "user", "content": f"What is {SUM}?"}
CALCULATOR = tool("calculator")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    definition = json.dumps(CALCULATOR.definition)
    return train_tokenizer([f"What is {SUM}? No. Tools: {definition} {CALL}" * 8], 420)


def conversation(*said: tuple[str, str]) -> list[dict[str, str]]:
    return [QUESTION, *({"role": role, "content": text} for role, text in said)]


@pytest.fixture(scope="module")
def caller(tokenizer: Tokenizer) -> Decoder:
    """A model taught to guess "No", or to call the calculator and say what it said: about as often."""
    torch.manual_seed(0)
    model = random_decoder(tokenizer.vocab_size, depth=2, max_length=256)
    renderer, tools = Renderer(tokenizer), [CALCULATOR.definition]
    said = [
        conversation(("assistant", "No")),
        conversation(("assistant", CALL), ("tool", VALUE), ("assistant", VALUE)),
    ]
    rows = [renderer.render(messages, tools) for messages in said]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        total = torch.zeros(())
        for row in rows:
            ids, mask = torch.tensor([row.ids]), torch.tensor(row.mask[1:])
            losses = torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="none")
            total = total + losses[mask].sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return model


def items(n: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(i),
            "family": "f",
            "messages": [QUESTION],
            "verifier": {"kind": "words", "value": VALUE},
            "answer": VALUE,
        }
        for i in range(n)
    ]


def sampler(tokenizer: Tokenizer, **changes: Any) -> Sampler:
    given = {
        "prompts": 2,
        "group": 8,
        "temperature": 1.0,
        "max_new": 90,
        "length": 250,
        "seed": 3,
        "tools": [CALCULATOR],
    }
    return Sampler(items(4), tokenizer, **(given | changes))


def by_answer(item: dict[str, Any], text: str) -> float | None:
    return float(text.strip() == VALUE)


def used(responses: list[Response]) -> list[Response]:
    return [one for one in responses if one.calls and one.text.strip() == VALUE]


def test_what_was_sampled_is_what_is_trained_and_the_tools_words_weigh_nothing(
    tokenizer: Tokenizer, caller: Decoder
) -> None:
    source = sampler(tokenizer)
    responses = source.sample(0, caller)
    found = used(responses)
    assert found and len(found) < len(responses)
    expected = Renderer(tokenizer).render(
        conversation(("assistant", CALL), ("tool", VALUE), ("assistant", VALUE)), [CALCULATOR.definition]
    )
    one = next(r for r in found if r.ids == expected.ids)  # what the template writes of the same conversation
    assert one.written == expected.mask[len(one.prompt) :] and one.ended and one.failed == 0
    batch, places = pack(responses, 250, tokenizer.pad)
    for response, (row, answer) in zip(responses, places, strict=True):
        chosen = [i for i, own in zip(response.generation.ids, response.written or [], strict=True) if own]
        assert batch.targets[row, answer].tolist() == chosen and len(chosen) == response.length
        assert torch.equal(batch.weights[row, answer], torch.ones(len(chosen)))
    assert int(batch.weights.sum()) == sum(response.length for response in responses)
    row, answer = places[responses.index(one)]
    start = int(answer[0])
    there = slice(start, start + len(one.generation.ids))
    assert (
        batch.targets[row, there].tolist() == one.generation.ids
    )  # the tool's words are read in their place
    assert int((batch.weights[row, there] == 0).sum()) == one.written.count(False) > 0


def test_ppo_1_the_trainer_agrees_with_the_sampler_after_a_tool_has_spoken(
    tokenizer: Tokenizer, caller: Decoder
) -> None:
    batch = Rollouts(sampler(tokenizer), caller, Judge(by_answer), length=250).next(0, caller)
    assert batch.weights.any()
    loss = PolicyGradient(0.1, importance_cap=2.0)(caller, batch)
    assert float(loss.peaks["sampler_gap_max"]) < 1e-4 and float(loss.metrics["kl"].detach()) < 1e-6
    caller.zero_grad()
    hidden = batch.weights == 0
    changed = batch.extra[SAMPLED].masked_fill(hidden, -5.0)
    batch.extra[SAMPLED].copy_(changed)
    again = PolicyGradient(0.1, importance_cap=2.0)(caller, batch)
    assert torch.equal(loss.total, again.total)


def test_ppo_9_what_a_tool_says_takes_nothing_from_an_advantage(
    tokenizer: Tokenizer, caller: Decoder
) -> None:
    """The score of the last token reaches the first as if the tool had said nothing between them."""
    found = used(sampler(tokenizer).sample(0, caller))[0]
    _, places = batch = pack([found], 250, tokenizer.pad)
    values, mask = _by_response(torch.zeros_like(batch[0].weights), places)
    assert values.shape == (1, found.length) and bool(mask.all())
    rewards = torch.zeros_like(values)
    rewards[0, -1] = 1.0
    advantages, _ = generalised_advantages(rewards, values, mask, gamma=1.0, lam=0.95)
    assert float(advantages[0, 0]) == pytest.approx(0.95 ** (found.length - 1), rel=1e-5)


def test_turns_and_tokens_are_bounded_and_failures_told_and_counted(
    tokenizer: Tokenizer, caller: Decoder
) -> None:
    asked: list[str] = []

    def broken(expression: str) -> str:
        asked.append(expression)
        raise ValueError("out of order")

    failing = Tool("calculator", "Calculates an arithmetic expression.", "expression", broken)
    responses = sampler(tokenizer, tools=[failing], calls=1).sample(0, caller)
    called = [one for one in responses if one.calls]
    assert called and asked == [SUM] * len(asked) and len(asked) == len(called)
    for one in called:
        assert one.calls == one.failed == 1 and "error: out of order" in tokenizer.decode(one.generation.ids)
    short = sampler(tokenizer, max_new=len(tokenizer.encode(CALL)) + 2).sample(0, caller)
    assert all(len(one.generation.ids) <= len(tokenizer.encode(CALL)) + 2 for one in short)
    unanswered = [one for one in short if one.calls]
    assert unanswered and all(not one.ended and all(one.written or []) for one in unanswered)


def test_answers_follow_from_their_seeds_however_long_tools_take(
    tokenizer: Tokenizer, caller: Decoder
) -> None:
    turns = [
        ToolTurns(tokenizer, [CALCULATOR], Sampling(temperature=1.0, max_new=90), calls=2, longest=50)
        for _ in range(2)
    ]
    found = [one.run(caller, [[QUESTION]] * 6, list(range(6))) for one in turns]
    assert found[0] == found[1]


def test_a_template_that_rewrites_what_a_tool_has_answered_is_refused(tokenizer: Tokenizer) -> None:
    template = tokenizer.template.replace(
        "{{- bos_token -}}",
        "{{- bos_token -}}{%- if messages[-1].role == 'tool' -%}<|system|><|end|>{%- endif -%}",
        1,
    )
    assert template != tokenizer.template
    changed = tokenizer.with_template(template)
    with pytest.raises(Refused, match="writes a turn in another way"):
        ToolTurns(changed, [CALCULATOR], Sampling(), calls=1, longest=9).between([QUESTION], VALUE)


def test_the_use_of_a_calculator_is_learned(
    tokenizer: Tokenizer, caller: Decoder, tmp_path: Path, workspace: Workspace
) -> None:
    """From guessing as often as calculating to calculating nearly always: the stage, on its own files."""
    tokenizer.save(tmp_path / "tokenizer")
    save_model(caller, tmp_path / "tokenizer", tmp_path / "model")
    write_jsonl(tmp_path / "examples" / "prompts.jsonl", items(6))
    given = {
        "model": "m", "examples": "e", "steps": 20, "prompts": 2, "group": 8, "max_new": 90, "length": 250, "beta": 0.0,
        "tools": {"names": ["calculator"]}, "optimizer": {"lr": 0.005, "lr_embedding": 0.005},
    }  # fmt: skip
    inputs = {"model": tmp_path / "model", "examples": tmp_path / "examples"}
    grpo(validate(GrpoConfig, given, where="grpo"), inputs, workspace)
    lines = [json.loads(line) for line in (workspace.path / "metrics.jsonl").read_text().splitlines()]
    rewards, calls = ([line[name] for line in lines if name in line] for name in ("reward", "tool_calls"))
    assert sum(rewards[:2]) / 2 < 0.6 and sum(rewards[-4:]) / 4 > 0.8
    assert sum(calls[:2]) / 2 < 0.6 and sum(calls[-4:]) / 4 > 0.8
    own = {"parts": 1, "steps": 1, "group": None}
    settings = {k: v for k, v in (given | own).items() if v is not None}
    ppo(validate(PPOConfig, settings, where="ppo"), inputs, Workspace(tmp_path / "ppo"))


def test_tools_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tools\.names"):
        validate(GrpoConfig, {"model": "m", "examples": "e", "tools": {"names": ["search"]}}, where="grpo")
