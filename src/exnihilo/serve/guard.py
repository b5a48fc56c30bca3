"""What every request and response goes through: allowed hosts, bounded bodies, security headers."""

from __future__ import annotations

import json
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY = 1_000_000  # bytes; a conversation that fills a context of 100,000 tokens is smaller

HEADERS = {
    # Everything comes from here, nothing is inline: text that a model wrote can't become a script.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware.

    `hosts` are the names that a request may give for this server, None for any. On loopback they keep a page
    from elsewhere from reaching it under a name of its own (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str] | None, max_body: int = MAX_BODY) -> None:
        self.app, self.hosts, self.max_body = app, hosts, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        received = 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body:
                raise HTTPException(413, self._too_large)
            return message

        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if self.hosts is not None and _name(headers.get("host", "")) not in self.hosts:
            await _refuse(guarded_send, 400, f"this server is not {headers.get('host', '')!r}", "wrong_host")
        elif not length.isdecimal() or int(length) > self.max_body:
            await _refuse(guarded_send, 413, self._too_large, "too_large")
        else:
            await self.app(scope, bounded_receive, guarded_send)

    @property
    def _too_large(self) -> str:
        return f"the request is larger than {self.max_body:,} bytes; send less"


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


async def _refuse(send: Send, status: int, message: str, code: str) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # The body is not read, so the connection can't serve another request.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
