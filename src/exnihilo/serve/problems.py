"""What is told to a client: server-sent events, and every failure as `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from exnihilo.core.errors import ExnihiloError
from exnihilo.serve.engine import Busy


def event(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def failure(error: Exception) -> dict[str, Any]:
    """What a client is told: our own errors in full, others by type only (their text may hold anything)."""
    if isinstance(error, ExnihiloError):
        return problem(str(error), "invalid_request_error", None, type(error).__name__)
    return problem(
        f"the server failed ({type(error).__name__}); see its log", "server_error", None, "internal"
    )


def problem(message: str, kind: str, param: str | None, code: str) -> dict[str, Any]:
    """The body of a failure."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(
    status: int, message: str, param: str | None, code: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A failure as a response; what is at fault follows from the status."""
    kind = (
        "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    )
    return JSONResponse(problem(message, kind, param, code), status, dict(headers or {}))


def busy(error: Busy) -> JSONResponse:
    """The response where the queue is full."""
    return error_response(429, str(error), None, "queue_full", headers={"Retry-After": "1"})


def add_error_handlers(app: FastAPI) -> None:
    """Every failure is `{"error": {message, type, param, code}}`."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body") or None
        return error_response(400, f"{param or 'body'}: {first['msg']}", param, str(first["type"]))

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        code = HTTPStatus(error.status_code).name.lower()
        return error_response(error.status_code, str(error.detail), None, code, error.headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(failure(error), 500)
