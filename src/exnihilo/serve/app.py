"""The web server: the app for a run or a model, and running it on a free port until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from exnihilo.core.errors import ConfigError
from exnihilo.serve.api import add_endpoints
from exnihilo.serve.completions import add_openai_endpoints
from exnihilo.serve.engine import Engine, Job
from exnihilo.serve.guard import LOOPBACK, Guard
from exnihilo.serve.problems import add_error_handlers
from exnihilo.serve.sessions import Sessions
from exnihilo.serve.targets import find

PAGE = Path(__file__).parent / "page"
PORT = 7860
TRIED = 50  # ports from the wanted one on
LAST_PORT = 65535


def create_app(
    run_or_model: Path, *, hosts: Sequence[str] | None = LOOPBACK, together: int = 4, waiting: int = 16
) -> FastAPI:
    """The server of a run or of one model.

    `hosts` are the host names it answers to, None for any. `together` answers are generated at a time and
    `waiting` others may wait. Raises Refused where the folder holds no model.
    """
    target = find(Path(run_or_model))
    engine, sessions = Engine(together=together, waiting=waiting), Sessions()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        # A model that can't be loaded is an error to whoever asks it, not to the server.
        engine.submit(Job(sessions.preload([model.folder for model in target.line]), lambda event: None))
        yield
        await asyncio.to_thread(engine.stop)

    # The generated documentation pages load scripts from elsewhere.
    app = FastAPI(title="exnihilo", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.engine, app.state.sessions = engine, sessions
    app.add_middleware(Guard, hosts=hosts)
    add_error_handlers(app)
    add_endpoints(app, target, engine, sessions)
    add_openai_endpoints(app, target, engine, sessions)

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/static", StaticFiles(directory=PAGE))
    return app


def run_web(target: Path, *, host: str = "127.0.0.1", port: int = PORT, open_browser: bool = True) -> None:
    """Serve the page for `target` until Ctrl-C; its address is printed to stdout.

    A port in use gives way to the next free one. Raises Refused where `target` holds no model, ConfigError
    for an address that this machine does not have.
    """
    local = host in ("127.0.0.1", "localhost", "::1")
    app = create_app(target, hosts=LOOPBACK if local else None)
    listener = bind(host, port)
    bound = listener.getsockname()[1]
    if bound != port and port != 0:
        print(f"port {port} is in use; using {bound}", file=sys.stderr)
    if not local:
        print(
            f"warning: {host} can be reached from other machines: anyone there can use the models",
            file=sys.stderr,
        )
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{bound}"
    print(f"{url}  (Ctrl-C ends)", flush=True)
    if open_browser and _has_display():
        # Some browsers are started in the foreground and return when they are closed.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    # Ctrl-C is mostly raised again when the server has ended, and now and then (once in a slow CI) it isn't.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
    print("", file=sys.stderr)  # after the terminal's ^C


def bind(host: str, port: int) -> socket.socket:
    """A socket on the first free port from `port` on (any free one for 0). Raises ConfigError if none is."""
    if not 0 <= port <= LAST_PORT:
        raise ConfigError(f"--port: got {port}; allowed: int from 1 to {LAST_PORT}, or 0 for any free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last = min(port + TRIED - 1, LAST_PORT)
    for candidate in range(port, last + 1) if port else [0]:
        # asyncio sends small packets at once only where the protocol is named; otherwise each event of a
        # stream waits 40 ms for the acknowledgement of the one before.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ConfigError(f"--host {host}: {error.strerror or error}; use 127.0.0.1") from error
        else:
            return listener
    raise ConfigError(f"--port {port}: no free port from {port} to {last}; give another")


def _has_display() -> bool:
    """Whether a browser would open a window; text browsers would take over this terminal."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY")
    )
