"""The OpenAI-compatible endpoints, asked by the `openai` client itself over a real port."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai
import pydantic
import pytest

from app_server import Server, wait
from exnihilo.serve.app import create_app
from exnihilo.serve.engine import Job

QUESTION = [{"role": "user", "content": "Which module defines `join`?"}]
ANSWER = "It is in `os.path`."
SCHEMA = {
    "type": "object",
    "properties": {"module": {"type": "string", "maxLength": 8}, "sure": {"type": "boolean"}},
    "required": ["module", "sure"],
    "additionalProperties": False,
}
OF_SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    server = Server(create_app(run))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0, timeout=120)


def _ask(client: openai.OpenAI, model: str = "aligned", **more: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": QUESTION, "temperature": 0, **more})


def test_serve_4_models_have_the_names_of_their_artifacts(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["base", "sft", "aligned", "longer"]


def test_an_answer_with_its_usage(client: openai.OpenAI) -> None:
    said = _ask(client)
    assert said.choices[0].message.content == ANSWER and said.choices[0].finish_reason == "stop"
    assert said.model == "aligned" and said.object == "chat.completion"
    usage = said.usage
    assert usage.completion_tokens > 3 and usage.prompt_tokens > 5
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    assert _ask(client, messages=parts).choices[0].message.content == ANSWER


def test_an_answer_with_its_tokens_as_they_were_sampled(client: openai.OpenAI) -> None:
    said = _ask(client, logprobs=True, extra_body={"return_token_ids": True}).model_dump()
    choice = said["choices"][0]
    found = choice["logprobs"]["content"]
    assert len(choice["token_ids"]) == len(found) == said["usage"]["completion_tokens"]
    assert len(said["prompt_token_ids"]) == said["usage"]["prompt_tokens"]
    assert "".join(one["token"] for one in found[:-1]) == ANSWER  # the last one ends the turn
    assert all(one["logprob"] <= 0 for one in found)
    plain = _ask(client).model_dump()
    assert plain["choices"][0]["logprobs"] is None and "token_ids" not in plain["choices"][0]
    with pytest.raises(openai.BadRequestError, match="leave out stream"):
        _ask(client, logprobs=True, stream=True)


def test_serve_4_a_stream_ends_with_its_reason_and_the_usage_asked_for(client: openai.OpenAI) -> None:
    chunks = list(_ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == ANSWER
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 3
    assert all(c.usage is None for c in chunks[:-1])
    assert all(c.choices for c in _ask(client, stream=True)), "no usage unless it is asked for"


def test_serve_3_each_parameter_changes_the_answer(client: openai.OpenAI) -> None:
    def text(**more: Any) -> str:
        return str(_ask(client, **more).choices[0].message.content)

    short = _ask(client, max_tokens=3)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 3
    assert _ask(client, max_completion_tokens=2).usage.completion_tokens == 2
    assert text(stop="os") == "It is in `" and text(stop=["path", "is"]) == "It "
    hot = {"model": "base", "temperature": 3.0, "max_tokens": 12}
    assert text(**hot, seed=1) == text(**hot, seed=1) != text(**hot, seed=2)
    assert (
        text(**hot, top_p=1e-6) == text(**hot, extra_body={"top_k": 1}) == text(model="base", max_tokens=12)
    )
    assert len({text(**hot) for _ in range(3)}) > 1, "without a seed answers differ"
    assert text(max_tokens=12, extra_body={"repetition_penalty": 9.0}) != text(max_tokens=12)


def test_answers_of_a_json_schema(client: openai.OpenAI) -> None:
    for temperature in (0, 2.0):
        said = _ask(client, temperature=temperature, seed=4, response_format=OF_SCHEMA, max_tokens=60)
        assert said.choices[0].finish_reason == "stop"
        jsonschema.validate(json.loads(said.choices[0].message.content), SCHEMA)
    stream = _ask(client, response_format=OF_SCHEMA, max_tokens=60, stream=True)
    jsonschema.validate(json.loads("".join(c.choices[0].delta.content or "" for c in stream)), SCHEMA)


class Where(pydantic.BaseModel):
    module: str = pydantic.Field(max_length=6)
    lines: list[int] = pydantic.Field(max_length=2)


def test_the_clients_own_parsing_into_a_model_of_pydantic(client: openai.OpenAI) -> None:
    said = client.chat.completions.parse(
        model="aligned", messages=QUESTION, response_format=Where, max_tokens=64, temperature=1.0, seed=1
    )
    assert isinstance(said.choices[0].message.parsed, Where)


def test_answers_of_an_object_a_regex_and_a_choice(client: openai.OpenAI) -> None:
    def text(**more: Any) -> str:
        return str(_ask(client, temperature=1.5, seed=7, max_tokens=40, **more).choices[0].message.content)

    assert isinstance(json.loads(text(response_format={"type": "json_object"})), dict)
    assert re.fullmatch(r"[a-z]{2,5}\.\w+!", text(extra_body={"regex": r"[a-z]{2,5}\.\w+!"}))
    assert text(extra_body={"choice": ["sys", "os.path"]}) in ("sys", "os.path")
    assert _ask(client, extra_body={"choice": ["sys", "It is in"]}).choices[0].message.content == "It is in"
    assert _ask(client, response_format={"type": "text"}).choices[0].message.content == ANSWER


def test_one_answer_is_constrained_and_the_next_is_not(client: openai.OpenAI) -> None:
    said = _ask(client, extra_body={"choice": ["sys"]}).choices[0].message.content
    turns = [*QUESTION, {"role": "assistant", "content": said}, *QUESTION]
    assert _ask(client, messages=turns).choices[0].message.content != "sys"
    assert _ask(client).choices[0].message.content == ANSWER


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"model": "absent"}, 404, "no model 'absent' here; one of: base, sft"),
        ({"messages": []}, 400, "messages: "),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "the last message must be the user's"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, 400, "the model's context is 256"),
        ({"n": 2}, 400, "n: "),
        ({"logprobs": True, "top_logprobs": 3}, 400, "top_logprobs: "),
        ({"presence_penalty": 0.5}, 400, "presence_penalty: "),
        ({"tools": []}, 400, "tools: "),
        ({"temperature": -1}, 400, "temperature: "),
        ({"max_tokens": 10**6}, 400, "max_tokens: "),
        ({"stop": [""]}, 400, "stop: "),
        ({"extra_body": {"best_of": 3}}, 400, "best_of: "),
        ({"response_format": {"type": "xml"}}, 400, "response_format.type: "),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, 400, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}},
            400,
            "schema #/not: not supported in decoding",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": False}}},
            400,
            "no text at all matches",
        ),
        ({"extra_body": {"regex": r"(a)\1"}}, 400, "a backreference at position 3"),
        ({"extra_body": {"regex": "a["}}, 400, "unterminated character set"),
        ({"extra_body": {"choice": []}}, 400, "choice: give a list"),
        ({"extra_body": {"choice": ["a"], "regex": "a"}}, 400, "exclude one another"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_serve_1_what_is_wrong_reaches_the_client(
    client: openai.OpenAI, more: dict[str, Any], status: int, message: str, stream: bool
) -> None:
    """The same answer for a stream: it has not begun when the request turns out to be wrong."""
    with pytest.raises(openai.APIStatusError, match=re.escape(message)) as caught:
        _ask(client, stream=stream, **more)
    assert caught.value.status_code == status
    assert set(caught.value.body) == {"message", "type", "param", "code"}  # type: ignore[arg-type]


def test_messages_that_would_be_forgotten_are_an_error(client: openai.OpenAI) -> None:
    turns = [{"role": role, "content": "word " * 20} for role in ("user", "assistant") * 4] + QUESTION
    with pytest.raises(openai.BadRequestError, match="would be forgotten; send fewer"):
        _ask(client, messages=turns)
    assert _ask(client).choices[0].message.content == ANSWER


def test_serve_2_a_full_queue_is_429_with_the_time_to_wait(
    serve: Callable[..., Server], endless: Path
) -> None:
    server = serve(endless, together=1, waiting=1)
    wait(lambda: server.health()["active"] == 0)
    body = {"model": "endless", "messages": QUESTION, "max_tokens": 4000, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=60) as first:
        pieces = first.iter_text()
        next(pieces)
        assert server.health()["active"] == 1
        with httpx.Client(timeout=0.3) as impatient, pytest.raises(httpx.ReadTimeout):
            impatient.post(f"{server.url}/v1/chat/completions", json=body | {"stream": False})
        wait(lambda: all(job.cancelled.is_set() for job in server.app.state.engine._queue))
        queued = server.app.state.sessions.preload([])
        server.app.state.engine.submit(Job(queued, lambda event: None))
        refused = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"


def test_serve_7_a_client_that_leaves_before_the_end_frees_the_model(
    serve: Callable[..., Server], endless: Path
) -> None:
    server = serve(endless, together=1)
    body = {"model": "endless", "messages": QUESTION, "max_tokens": 4000}
    with httpx.Client(timeout=1.0) as impatient, pytest.raises(httpx.ReadTimeout):
        impatient.post(f"{server.url}/v1/chat/completions", json=body)
    wait(lambda: server.app.state.engine.active == 0)
    wait(lambda: bool(server.app.state.sessions._idle[endless]))
    (session,) = server.app.state.sessions._idle[endless]
    assert len(session._transcript) < 3000
