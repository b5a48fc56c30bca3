from __future__ import annotations

import inspect
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from exnihilo.serve.app import PAGE, bind, create_app, run_web
from exnihilo.serve.guard import MAX_BODY

JOIN = "Which module defines `join`?"
Serve = Callable[..., Any]


def _ask(question: str = JOIN, model: str = "aligned", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}], **more}


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]


def _wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[TestClient]:
    with TestClient(create_app(run), base_url="http://127.0.0.1") as client:
        yield client


def test_models_and_questions(client: TestClient) -> None:
    found = client.get("/api/models").json()
    assert found["name"] == "a run"
    assert [(m["name"], m["role"], m["shown"]) for m in found["models"]] == [
        ("base", "base", True),
        ("sft", "sft", True),
        ("aligned", "aligned", True),
        ("longer", "sft", False),
    ]
    assert len(found["questions"]) == 4


@pytest.mark.parametrize(
    ("model", "text", "status"),
    [("aligned", "It is in `os.path`.", "correct"), ("sft", "It is in `sys`.", "incorrect")],
)
def test_an_answer_streams_and_is_checked(client: TestClient, model: str, text: str, status: str) -> None:
    response = client.post("/api/chat", json=_ask(model=model))
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    *pieces, last = _events(response.text)
    assert len(pieces) > 2 and "".join(piece["text"] for piece in pieces) == text
    assert last["done"]["finish"] == "stop"
    verdict = last["done"]["verdict"]
    assert (verdict["status"], verdict["expected"], verdict["by"]) == (status, "os.path", "held-out")


def test_a_second_turn_prefills_its_new_tokens_only(client: TestClient) -> None:
    # A question that no test has asked: the server keeps what conversations began with.
    question = "Is there nobody else here who would know a module with `join` in it?"
    first = _events(client.post("/api/chat", json=_ask(question)).text)
    answer = "".join(event.get("text", "") for event in first)
    body = _ask(question)
    body["messages"] += [{"role": "assistant", "content": answer}, {"role": "user", "content": "Why?"}]
    done = _events(client.post("/api/chat", json=body).text)[-1]["done"]
    assert first[-1]["done"]["prefilled"] > 30
    assert done["prefilled"] < 12


def test_the_same_seed_gives_the_same_answer(client: TestClient) -> None:
    def text(seed: int) -> str:
        response = client.post(
            "/api/chat", json=_ask("Hello?", "base", temperature=1.5, seed=seed, max_new=20)
        )
        return "".join(event.get("text", "") for event in _events(response.text))

    assert text(1) == text(1) != text(2)


def test_a_message_beyond_the_context_is_an_error_in_the_stream(client: TestClient) -> None:
    events = _events(client.post("/api/chat", json=_ask("word " * 2000)).text)
    assert list(events[-1]) == ["error"]
    assert "context is 256" in events[-1]["error"]["message"]
    assert set(events[-1]["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (_ask(model="absent"), 404, "model"),
        (_ask(temperature=-1), 400, "temperature"),
        (_ask(max_new=100_000), 400, "max_new"),
        (_ask(n=1000), 400, "n"),
        (_ask(seed=2**64), 400, "seed"),
        ({"model": "base", "messages": []}, 400, "messages"),
        ({"model": "base", "messages": [{"role": "root", "content": ""}]}, 400, "messages.0.role"),
        ({"model": "base"}, 400, "messages"),
    ],
)
def test_serve_6_wrong_requests_name_what_is_wrong(
    client: TestClient, body: dict[str, Any], status: int, param: str
) -> None:
    response = client.post("/api/chat", json=body)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param and error["message"]


def test_errors_have_one_shape_everywhere(client: TestClient) -> None:
    for response in (
        client.get("/absent"),
        client.get("/static/absent.js"),
        client.get("/api/chat"),
        client.post("/api/chat", content=b"{", headers={"content-type": "application/json"}),
        client.post("/api/chat", content=json.dumps(_ask()), headers={"content-type": "text/plain"}),
    ):
        assert 400 <= response.status_code < 500
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_a_page_elsewhere_cannot_reach_the_server_under_a_name_of_its_own(client: TestClient) -> None:
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/health", headers={"host": "localhost:7860"}).status_code == 200
    assert "access-control-allow-origin" not in client.get("/health").headers


def test_ui_2_the_page_holds_no_outside_address_and_no_inline_code(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    names = [path.name for path in PAGE.iterdir()]
    assert {"index.html", "main.js", "sse.js", "style.css"} <= set(names)
    for name in names:
        text = client.get(f"/static/{name}").text
        assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)\w+\.\w", text)
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "eval(" not in text
    assert not re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", page.text)


def test_serve_2_health_answers_at_once_while_generating_and_the_queue_is_bounded(
    serve: Serve, endless: Path
) -> None:
    server = serve(endless, together=1, waiting=1)
    _wait(lambda: server.health()["active"] == 0)
    body = _ask("Hi", "endless", max_new=4000)
    with (
        httpx.Client(base_url=server.url, timeout=60) as client,
        client.stream("POST", "/api/chat", json=body, timeout=60) as first,
    ):
        pieces = first.iter_text()  # kept: the response closes with its iterator
        next(pieces)
        waits = []
        for _ in range(30):
            start = time.monotonic()
            assert client.get("/health").json()["active"] == 1
            waits.append(time.monotonic() - start)
        assert sorted(waits)[26] < 0.1, "nine of ten; the machine may be busy with something else"
        with httpx.stream("POST", f"{server.url}/api/chat", json=body, timeout=60) as second:
            assert second.status_code == 200
            third = client.post("/api/chat", json=body)
            assert third.status_code == 429
            assert third.headers["retry-after"] == "1"
            assert third.json()["error"]["code"] == "queue_full"
            assert server.health() == {"status": "ok", "active": 1, "queued": 1}


def test_serve_7_generation_stops_when_the_client_leaves(serve: Serve, endless: Path) -> None:
    server = serve(endless, together=1)
    body = _ask("Hi", "endless", max_new=4000)
    with httpx.stream("POST", f"{server.url}/api/chat", json=body, timeout=60) as response:
        pieces = response.iter_text()
        next(pieces)
        assert server.health()["active"] == 1
    _wait(lambda: server.app.state.engine.active == 0)
    (session,) = server.app.state.sessions._idle[endless]
    assert len(session.messages[-1]["content"]) >= 1 and len(session._transcript) < 2000


def test_a_client_that_leaves_while_it_waits_frees_its_place(serve: Serve, endless: Path) -> None:
    server = serve(endless, together=1, waiting=1)
    body = _ask("Hi", "endless", max_new=4000)
    with httpx.stream("POST", f"{server.url}/api/chat", json=body, timeout=60) as response:
        pieces = response.iter_text()
        next(pieces)
        for _ in range(3):
            # Each takes the one waiting place, and gives it up.
            with httpx.stream("POST", f"{server.url}/api/chat", json=body, timeout=60) as waiting:
                assert waiting.status_code == 200
            job = server.app.state.engine._queue[-1]
            _wait(job.cancelled.is_set)


def test_serve_6_a_body_of_100_mb_is_refused_unread(serve: Serve, run: Path) -> None:
    server = serve(run)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST /api/chat HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {100 * 2**20}\r\n\r\n".encode())
        _refused(connection)

    # The same without a length: it is cut off once it is over the bound.
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        while sent <= MAX_BODY:
            connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            sent += 0x10000
        _refused(connection)
    assert server.health()["status"] == "ok"


def _refused(connection: socket.socket) -> None:
    answer = ""
    while not answer.endswith("}"):
        received = connection.recv(65536).decode()
        assert received, f"closed after {answer!r}"
        answer += received
    assert answer.startswith("HTTP/1.1 413")
    assert "larger than 1,000,000 bytes" in json.loads(answer.partition("\r\n\r\n")[2])["error"]["message"]


def test_serve_6_the_default_is_loopback() -> None:
    assert inspect.signature(run_web).parameters["host"].default == "127.0.0.1"
    with bind("127.0.0.1", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def _web(target: Path, environ: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    arguments = ", ".join(f"{name}={value!r}" for name, value in options.items())
    call = f"run_web(Path({str(target)!r}), {arguments})"
    code = f"from pathlib import Path; from exnihilo.serve.app import run_web; {call}"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environ or {})},
    )


def test_ui_5_a_port_in_use_and_a_browser_that_blocks_and_serve_6_an_open_address(
    run: Path, tmp_path: Path
) -> None:
    """The next free port is printed, the server answers while the browser blocks, Ctrl-C ends it, and an
    address that others can reach is warned of."""
    blocking = tmp_path / "browser"
    blocking.write_text("#!/bin/sh\nexec sleep 20 >/dev/null 2>&1\n", encoding="utf-8")
    blocking.chmod(0o755)
    with bind("127.0.0.1", 7860) as taken:
        port = taken.getsockname()[1]
        call = f"run_web(Path({str(run)!r}), host='0.0.0.0', port={port})"
        code = f"from pathlib import Path; from exnihilo.serve.app import run_web; {call}"
        environ = {**os.environ, "BROWSER": f"{blocking} %s", "DISPLAY": ":9"}
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            found = re.match(r"http://127\.0\.0\.1:(\d+) ", process.stdout.readline())
            assert found is not None and port < int(found[1]) < port + 50
            address = f"http://127.0.0.1:{found[1]}"
            health = httpx.get(f"{address}/health", headers={"host": "laptop.local"}, timeout=60)
            assert health.json()["status"] == "ok"
            assert "Ask once" in httpx.get(address, timeout=60).text
            process.send_signal(2)
            assert process.wait(120) == 0
            errors = process.stderr.read().splitlines()
    assert errors[0] == f"port {port} is in use; using {found[1]}"
    assert errors[1].startswith("warning: 0.0.0.0 can be reached from other machines")
    assert errors[2:] == [""]
