"""The endpoints behind the page: what is served, and answers as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field
from starlette.exceptions import HTTPException

from exnihilo.core.config import Config
from exnihilo.core.errors import ExnihiloError
from exnihilo.infer.chat import Done, Dropped, Event, Text
from exnihilo.infer.sampling import Sampling
from exnihilo.serve.checks import check_answer
from exnihilo.serve.engine import Busy, Engine, Job
from exnihilo.serve.sessions import Sessions
from exnihilo.serve.targets import Target


class ChatMessage(Config):
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=100_000)


class ChatRequest(Config):
    """Body of POST /api/chat; the last message is the user's."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    temperature: float = Field(0.0, ge=0, le=10)
    seed: int = Field(0, ge=0, lt=2**63)
    max_new: int = Field(256, ge=1, le=4096)


def add_endpoints(app: FastAPI, target: Target, engine: Engine, sessions: Sessions) -> None:
    """GET /health, GET /api/models, POST /api/chat."""
    by_name = {model.name: model for model in target.models}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "active": engine.active, "queued": engine.queued}

    @app.get("/api/models")
    async def models(draw: int = 0) -> dict[str, Any]:
        line = target.line
        return {
            "name": target.name,
            "models": [{"name": m.name, "role": m.role, "shown": m in line} for m in target.models],
            "questions": target.questions(draw),
        }

    @app.post("/api/chat", response_model=None)
    async def chat(body: ChatRequest) -> StreamingResponse | JSONResponse:
        model = by_name.get(body.model)
        if model is None:
            known = ", ".join(by_name)
            return _error(404, f"no model {body.model!r} here; one of: {known}", "model", "model_not_found")
        messages = [{"role": m.role, "content": m.content} for m in body.messages]
        sampling = Sampling(temperature=body.temperature, max_new=body.max_new)
        answers: asyncio.Queue[Event | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        job = Job(
            sessions.reply(model.folder, messages, sampling, body.seed),
            lambda event: loop.call_soon_threadsafe(answers.put_nowait, event),
        )
        try:
            engine.submit(job)
        except Busy as error:
            return _error(429, str(error), None, "queue_full", headers={"Retry-After": "1"})
        return StreamingResponse(
            _stream(job, answers, messages[-1]["content"], target.items), media_type="text/event-stream"
        )


async def _stream(
    job: Job,
    answers: asyncio.Queue[Event | Exception],
    question: str,
    items: Mapping[str, Mapping[str, Any]],
) -> AsyncIterator[str]:
    """Server-sent events of one answer. When the client leaves this is cancelled, and the job with it."""
    started = time.monotonic()
    try:
        while True:
            event = await answers.get()
            match event:
                case Text(text):
                    if text:
                        yield _event({"text": text})
                case Dropped(count):
                    yield _event({"dropped": count})
                case Done():
                    seconds = time.monotonic() - started
                    # A verifier may run a while; the event loop does not wait for it.
                    verdict = await asyncio.to_thread(check_answer, question, event.text, items)
                    yield _event(
                        {
                            "done": {
                                "finish": event.finish,
                                "tokens": event.tokens,
                                "prefilled": event.prefilled,
                                "seconds": round(seconds, 3),
                                "verdict": verdict.as_dict(),
                            }
                        }
                    )
                    return
                case _:
                    yield _event(_failure(event))
                    return
    finally:
        job.cancel()


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _failure(error: Exception) -> dict[str, Any]:
    """What a client is told: our own errors in full, others by type only (their text may hold anything)."""
    if isinstance(error, ExnihiloError):
        return _problem(str(error), "invalid_request_error", None, type(error).__name__)
    return _problem(
        f"the server failed ({type(error).__name__}); see its log", "server_error", None, "internal"
    )


def _problem(message: str, kind: str, param: str | None, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _error(
    status: int, message: str, param: str | None, code: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    kind = (
        "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    )
    return JSONResponse(_problem(message, kind, param, code), status, dict(headers or {}))


def add_error_handlers(app: FastAPI) -> None:
    """Every failure is `{"error": {message, type, param, code}}`."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body") or None
        return _error(400, f"{param or 'body'}: {first['msg']}", param, str(first["type"]))

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        code = HTTPStatus(error.status_code).name.lower()
        return _error(error.status_code, str(error.detail), None, code, error.headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(_failure(error), 500)
