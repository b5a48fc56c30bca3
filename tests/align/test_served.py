"""Answers sampled by a server: ours, for real, and servers that say too little or something else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from app_server import Server
from endpoint_server import servers
from exnihilo.align.grpo import GrpoConfig, grpo
from exnihilo.align.responses import Sampler
from exnihilo.align.rollouts import Rollouts
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.model.folder import load_model, save_model
from exnihilo.objectives.policy import OLD, SAMPLED
from exnihilo.serve.app import create_app
from exnihilo.teachers.endpoint import Endpoint
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from random_rollouts import Judge, by_length, items, make_model


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    tokenizer.save(folder / "tokenizer")
    save_model(make_model(tokenizer), folder / "tokenizer", folder / "model")
    write_jsonl(folder / "examples" / "prompts.jsonl", items(12))
    (folder / "grade.py").write_text("def grade(item, answer):\n    return len(answer) % 3\n")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    one = Server(create_app(folder / "model"))
    one.start()
    yield one
    one.stop()


def sampler(tokenizer: Tokenizer, url: str) -> Sampler:
    return Sampler(
        items(12), tokenizer, prompts=3, group=4, temperature=1.0, max_new=10, length=48, seed=3,
        server=Endpoint(url, "model", attempts=1),
    )  # fmt: skip


def test_our_own_server_gives_what_is_trained_id_by_id(tokenizer: Tokenizer, server: Server) -> None:
    model = make_model(tokenizer)
    source = sampler(tokenizer, f"{server.url}/v1")
    responses = source.sample(0, model)
    assert len(responses) == 12 and len({tuple(one.generation.ids) for one in responses}) > 6
    finishes = {one.generation.finish for one in responses}
    assert finishes == {"stop", "length"}
    for one in responses:
        assert len(one.generation.ids) == len(one.generation.logprobs) <= 10
        assert one.ended == (one.generation.ids[-1] in (tokenizer.end, tokenizer.eos))
    assert [one.ids for one in source.sample(0, model)] == [one.ids for one in responses]
    made = Rollouts(source, model, Judge(by_length), length=48)
    batch = made.next(1, model)
    kept = batch.weights != 0
    assert kept.any() and (batch.extra[OLD] - batch.extra[SAMPLED])[kept].abs().max() < 1e-4
    assert torch.equal(batch.extra[OLD], made.logprobs(model, batch))


def test_the_stage_learns_from_a_server_and_says_how_stale_it_is(
    folder: Path, server: Server, workspace: Workspace
) -> None:
    given: dict[str, Any] = {
        "model": "m", "examples": "e", "steps": 3, "staleness": 2, "prompts": 4, "group": 4, "max_new": 8,
        "length": 48, "log_every": 1, "rewards": {"program": str(folder / "grade.py")},
        "server": {"url": f"{server.url}/v1", "model": "model"},
    }  # fmt: skip
    inputs = {"model": folder / "model", "examples": folder / "examples"}
    grpo(validate(GrpoConfig, given, where="grpo"), inputs, workspace)
    lines = [json.loads(line) for line in (workspace.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["staleness"] for line in lines if "staleness" in line] == [0, 1, 2]
    assert all(line["sampler_gap_max"] < 1e-4 for line in lines if "sampler_gap_max" in line)
    before, after = load_model(folder / "model"), load_model(workspace.path)
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    with pytest.raises(ConfigError, match="give at least that, or fewer steps"):
        validate(GrpoConfig, given | {"steps": 4}, where="grpo")
    with pytest.raises(ConfigError, match="tools need answers sampled here"):
        validate(GrpoConfig, given | {"tools": {"names": ["calculator"]}}, where="grpo")


def test_a_server_of_another_model_is_refused(tokenizer: Tokenizer, server: Server) -> None:
    other = make_model(tokenizer, seed=7)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter))
    with pytest.raises(Refused, match="nats a token from those of the model that training starts from"):
        Rollouts(sampler(tokenizer, f"{server.url}/v1"), other, Judge(by_length), length=48).next(0, other)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prompt_token_ids": None}, ConfigError, "without token ids and log-probabilities"),
        ({"logprobs": None}, ConfigError, "use a server that knows return_token_ids"),
        ({"logprobs": {"content": []}}, ConfigError, "2 token ids come with 0 log-probabilities"),
        ({"prompt_token_ids": [1, 2]}, Refused, "reads a question as 2 ids"),
        ({"token_ids": [9, 9]}, Refused, "leaves out the token that ends an answer"),
    ],
)
def test_servers_that_say_too_little_or_read_something_else_are_refused(
    tokenizer: Tokenizer, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    own = Sampler(items(12), tokenizer, prompts=1, group=1, temperature=1.0, max_new=4, length=48, seed=3)

    def reply(question: str, times: int) -> tuple[int, dict[str, str], Any]:
        number = next(i for i, item in enumerate(items(12)) if item["messages"][0]["content"] == question)
        given: dict[str, Any] = {
            "prompt_token_ids": own.ids[number],
            "token_ids": [9, tokenizer.end],
            "logprobs": {"content": [{"logprob": -1.0}, {"logprob": -0.5}]},
        } | change
        choice = {"message": {"content": "x"}, "finish_reason": "stop"}
        choice |= {name: given[name] for name in ("token_ids", "logprobs")}
        return 200, {}, {"choices": [choice], "prompt_token_ids": given["prompt_token_ids"]}

    with servers() as begin, pytest.raises(error, match=message):
        sampler(tokenizer, begin(reply).url).sample(0, make_model(tokenizer))
