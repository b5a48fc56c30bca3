"""Our own server on a real port, in a thread of the test's process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx
import uvicorn
from fastapi import FastAPI

from exnihilo.serve.app import bind


class Server:
    """An app on a real port, in a thread of this process."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.socket = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    def start(self) -> None:
        self.thread.start()
        wait(lambda: self.server.started)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    def health(self) -> dict[str, int]:
        answer: dict[str, int] = httpx.get(f"{self.url}/health", timeout=60).json()
        return answer


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
