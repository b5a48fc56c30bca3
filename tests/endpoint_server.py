"""An OpenAI-compatible endpoint that answers what a test wants."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], Any]


class Server:
    """Answers completions with `reply(question, how often it was asked)`, and counts."""

    def __init__(self, reply: Callable[[str, int], Reply]) -> None:
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.now = self.most = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                question = body["messages"][-1]["content"]
                with lock:
                    outer.asked[question] += 1
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                    outer.headers.append(dict(self.headers))
                    outer.bodies.append(body)
                    times = outer.asked[question]
                code, headers, content = reply(question, times)
                with lock:
                    outer.now -= 1
                if code == 0:  # the line goes dead
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def completion(text: str) -> Reply:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return 200, {}, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


@contextmanager
def servers() -> Iterator[Callable[[Callable[[str, int], Reply]], Server]]:
    """Begins servers, which end with it."""
    begun: list[Server] = []

    def begin(reply: Callable[[str, int], Reply]) -> Server:
        begun.append(Server(reply))
        return begun[-1]

    yield begin
    for server in begun:
        server.http.shutdown()
