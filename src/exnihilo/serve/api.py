"""The endpoints behind the page: what is served, and answers as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Mapping
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from exnihilo.core.config import Config
from exnihilo.infer.chat import Done, Dropped, Event, Text
from exnihilo.infer.sampling import Sampling
from exnihilo.serve.checks import check_answer
from exnihilo.serve.engine import Busy, Engine, Job
from exnihilo.serve.problems import busy, error_response, event, failure
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
            return error_response(
                404, f"no model {body.model!r} here; one of: {known}", "model", "model_not_found"
            )
        messages = [{"role": m.role, "content": m.content} for m in body.messages]
        sampling = Sampling(temperature=body.temperature, max_new=body.max_new)
        try:
            job, answers = begin(engine, sessions.reply(model.folder, messages, sampling, body.seed))
        except Busy as error:
            return busy(error)
        return StreamingResponse(
            _stream(job, answers, messages[-1]["content"], target.items), media_type="text/event-stream"
        )


def begin(
    engine: Engine, events: Generator[Event, None, None]
) -> tuple[Job, asyncio.Queue[Event | Exception]]:
    """Queue an answer; its events come in the event loop that calls this. Raises Busy."""
    answers: asyncio.Queue[Event | Exception] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    job = Job(events, lambda event: loop.call_soon_threadsafe(answers.put_nowait, event))
    engine.submit(job)
    return job, answers


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
            said = await answers.get()
            match said:
                case Text(text):
                    if text:
                        yield event({"text": text})
                case Dropped(count):
                    yield event({"dropped": count})
                case Done():
                    seconds = time.monotonic() - started
                    # A verifier may run a while; the event loop does not wait for it.
                    verdict = await asyncio.to_thread(check_answer, question, said.text, items)
                    yield event(
                        {
                            "done": {
                                "finish": said.finish,
                                "tokens": said.tokens,
                                "prefilled": said.prefilled,
                                "seconds": round(seconds, 3),
                                "verdict": verdict.as_dict(),
                            }
                        }
                    )
                    return
                case _:
                    yield event(failure(said))
                    return
    finally:
        job.cancel()
