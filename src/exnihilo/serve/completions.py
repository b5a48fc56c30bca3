"""OpenAI's chat completions, as far as they mean something here: any client for them can talk to a run.

A parameter is honoured or refused by name (400), never ignored. Beyond OpenAI's there are `top_k`,
`repetition_penalty`, `regex` and `choice`, and `return_token_ids`, which vLLM has too: the answer then comes with
`prompt_token_ids` and `token_ids`, so that a trainer need not encode what was sampled. The `openai` client sends them
in `extra_body`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from exnihilo.core.config import Config
from exnihilo.core.errors import ConfigError, ExnihiloError
from exnihilo.infer.chat import Done, Dropped, Event, Text, Token
from exnihilo.infer.sampling import Sampling
from exnihilo.serve.answer_format import ResponseFormat, wanted
from exnihilo.serve.api import begin
from exnihilo.serve.engine import Busy, Engine, Job
from exnihilo.serve.problems import busy, error_response, event, failure
from exnihilo.serve.sessions import Sessions
from exnihilo.serve.targets import Target

MAX_NEW = 4096
Answers = asyncio.Queue[Event | Exception]


class TextPart(Config):
    type: Literal["text"]
    text: str


class Message(Config):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def turn(self) -> dict[str, str]:
        """The message as our templates know it."""
        parts = self.content if isinstance(self.content, str) else "".join(p.text for p in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": parts}


class StreamOptions(Config):
    include_usage: bool = False


class CompletionRequest(Config):
    """Body of POST /v1/chat/completions. What only has one value here may be given with that value."""

    model: str
    messages: list[Message] = Field(min_length=1, max_length=1000)
    temperature: float = Field(1.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    max_tokens: int | None = Field(None, ge=1, le=MAX_NEW)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_NEW)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    regex: str | None = None
    choice: list[str] | None = None
    user: str | None = None
    n: Literal[1] = 1
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    return_token_ids: bool = False
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0

    def sampling(self) -> Sampling:
        """Settings of the answer. Raises ConfigError."""
        if self.stream and (self.logprobs or self.return_token_ids):
            raise ConfigError("logprobs and return_token_ids come with whole answers; leave out stream")
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.repetition_penalty,
            max_new=self.max_completion_tokens or self.max_tokens or MAX_NEW,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
        )


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


def add_openai_endpoints(app: FastAPI, target: Target, engine: Engine, sessions: Sessions) -> None:
    """GET /v1/models, POST /v1/chat/completions."""
    by_name = {model.name: model for model in target.models}
    started = int(time.time())

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        data = [
            {"id": name, "object": "model", "created": started, "owned_by": "exnihilo"} for name in by_name
        ]
        return {"object": "list", "data": data}

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(body: CompletionRequest, request: Request) -> Response:
        model = by_name.get(body.model)
        if model is None:
            known = ", ".join(by_name)
            return error_response(
                404, f"no model {body.model!r} here; one of: {known}", "model", "model_not_found"
            )
        try:
            sampling = body.sampling()
            # A large schema takes a while; the event loop does not wait for it.
            shape = await asyncio.to_thread(wanted, body.response_format, body.regex, body.choice)
        except ConfigError as error:
            return JSONResponse(failure(error), 400)
        seed = secrets.randbits(62) if body.seed is None else body.seed
        turns = [message.turn() for message in body.messages]
        try:
            job, answers = begin(engine, sessions.reply(model.folder, turns, sampling, seed, shape))
        except Busy as error:
            return busy(error)
        answer = _Answer(body)
        try:
            # What is wrong with the request shows before the first token, and is a status then.
            first = await _next(answers, request)
            if isinstance(first, Exception):
                job.cancel()
                return JSONResponse(failure(first), 400 if isinstance(first, ExnihiloError) else 500)
            if body.stream:
                return StreamingResponse(_stream(job, first, answers, answer), media_type="text/event-stream")
            while not isinstance(first, Done):
                first = await _next(answers, request)
                if isinstance(first, Exception):
                    return JSONResponse(failure(first), 400 if isinstance(first, ExnihiloError) else 500)
            return JSONResponse(answer.whole(first))
        except ClientLeft:
            job.cancel()
            return Response(status_code=499)


async def _next(answers: Answers, request: Request) -> Event | Exception:
    """The next event of an answer. Raises ClientLeft once nobody waits for it."""
    while not await request.is_disconnected():
        try:
            return _checked(await asyncio.wait_for(answers.get(), 0.5))
        except TimeoutError:
            continue
    raise ClientLeft


def _checked(said: Event | Exception) -> Event | Exception:
    """Messages that leave the context are an error to a client that sent them all."""
    if isinstance(said, Dropped):
        return ConfigError(
            f"the messages do not fit the model's context: {said.messages} of the oldest would be forgotten; "
            "send fewer"
        )
    return said


async def _stream(job: Job, first: Event, answers: Answers, answer: _Answer) -> AsyncIterator[str]:
    """Chunks of one answer. When the client leaves this is cancelled, and the job with it."""
    said: Event | Exception = first
    try:
        yield event(answer.chunk({"role": "assistant", "content": ""}))
        while True:
            match said:
                case Text(text):
                    if text:
                        yield event(answer.chunk({"content": text}))
                case Done():
                    yield event(answer.chunk({}, said.finish))
                    if answer.with_usage:
                        yield event(answer.usage_chunk(said))
                    yield "data: [DONE]\n\n"
                    return
                case Exception():
                    yield event(failure(said))
                    return
            said = _checked(await answers.get())
    finally:
        job.cancel()


class _Answer:
    """The objects that OpenAI's clients expect for one answer."""

    def __init__(self, body: CompletionRequest) -> None:
        self.with_logprobs, self.with_ids = bool(body.logprobs), body.return_token_ids
        self.with_usage = body.stream_options is not None and body.stream_options.include_usage
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": body.model,
        }

    def whole(self, done: Done) -> dict[str, Any]:
        """A `chat.completion`."""
        message = {"role": "assistant", "content": done.text}
        logprobs = {"content": [_logprob(token) for token in done.said]} if self.with_logprobs else None
        choice: dict[str, Any] = {
            "index": 0, "message": message, "logprobs": logprobs, "finish_reason": done.finish,
        }  # fmt: skip
        read = {}
        if self.with_ids:
            choice["token_ids"] = [token.id for token in done.said]
            read = {"prompt_token_ids": done.read}
        return {
            **self._head, "object": "chat.completion", **read, "choices": [choice], "usage": _usage(done),
        }  # fmt: skip

    def chunk(self, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        """A `chat.completion.chunk`."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.with_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def usage_chunk(self, done: Done) -> dict[str, Any]:
        """The last chunk where usage was asked for."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(done)}


def _logprob(token: Token) -> dict[str, Any]:
    text = token.text.decode("utf-8", "replace")
    return {"token": text, "logprob": token.logprob, "bytes": list(token.text), "top_logprobs": []}


def _usage(done: Done) -> dict[str, Any]:
    return {
        "prompt_tokens": done.prompt,
        "completion_tokens": done.tokens,
        "total_tokens": done.prompt + done.tokens,
        "prompt_tokens_details": {"cached_tokens": done.prompt - done.prefilled},
    }
