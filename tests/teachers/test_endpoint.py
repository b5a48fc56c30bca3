"""An endpoint that fails as endpoints do: what is tried again, what is not, what it costs, and what is kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from endpoint_server import Reply, Server, completion
from exnihilo.core.errors import ConfigError, ExnihiloError, Refused
from exnihilo.teachers.endpoint import Endpoint, Meter
from exnihilo.teachers.program import ProgramTeacher
from exnihilo.teachers.remembered import Remembered
from exnihilo.teachers.teacher import Ask, Said


def ask(text: str) -> Ask:
    return Ask([{"role": "user", "content": text}])


def endpoint(server: Server, **options: Any) -> Endpoint:
    return Endpoint(server.url, "m", first_wait=0.001, **options)


def test_answers_are_in_order_whatever_order_they_came_in(serve: Any) -> None:
    def reply(question: str, times: int) -> Reply:
        time.sleep(0.02 if question == "0" else 0)
        return completion(f"<{question}>")

    server = serve(reply)
    said = endpoint(server, concurrency=3).answer([ask(str(n)) for n in range(20)])
    assert [one.text for one in said] == [f"<{n}>" for n in range(20)]
    assert 1 < server.most <= 3 and {one.by for one in said} == {"endpoint m"}
    assert server.bodies[0]["max_tokens"] == 512 and "response_format" not in server.bodies[0]


@pytest.mark.parametrize("code", [429, 500, 503, 0, 200])
def test_what_may_be_better_the_next_time_is_tried_again(code: int, serve: Any) -> None:
    broken: Reply = (
        code,
        {"retry-after": "0.01"},
        b"<html>" if code == 200 else {"error": {"message": "busy"}},
    )
    server = serve(lambda question, times: broken if times < 3 else completion("yes"))
    teacher = endpoint(server)
    (said,) = teacher.answer([ask("a")])
    assert said.text == "yes" and server.asked["a"] == 3 and teacher.meter.retried == 2


def test_what_fails_each_time_is_no_answer_and_says_why(serve: Any) -> None:
    server = serve(
        lambda q, t: completion("good") if q == "a" else (503, {}, {"error": {"message": "too busy"}})
    )
    good, bad = endpoint(server, attempts=3).answer([ask("a"), ask("b")])
    assert good.text == "good" and bad.text is None and server.asked["b"] == 3
    assert bad.problem == "3 attempts failed, the last with HTTP 503: too busy"


def test_a_question_that_is_refused_is_not_asked_again(serve: Any) -> None:
    server = serve(lambda q, t: (400, {}, {"error": {"message": "too long"}}))
    (said,) = endpoint(server).answer([ask("a")])
    assert said.problem == "HTTP 400: too long" and server.asked["a"] == 1


def test_a_wrong_key_ends_it_at_once_and_the_key_is_in_no_message(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    server = serve(lambda q, t: (401, {}, {"error": {"message": "no such key"}}))
    with pytest.raises(
        ConfigError, match="401: no such key; look at url, model and the key in SOME_KEY"
    ) as caught:
        endpoint(server, key_variable="SOME_KEY").answer([ask(str(n)) for n in range(50)])
    assert "sk-secret" not in str(caught.value) and sum(server.asked.values()) <= 8
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    with pytest.raises(ConfigError, match="is no address"):
        Endpoint("localhost:8000", "m")


def test_nobody_there_is_told(serve: Any) -> None:
    (said,) = Endpoint("http://127.0.0.1:9/v1", "m", attempts=2, first_wait=0.001).answer([ask("a")])
    assert said.text is None and "2 attempts failed, the last with ConnectError" in (said.problem or "")


def test_the_meter_counts_and_bounds_what_is_spent_and_nothing_paid_for_is_lost(
    serve: Any, tmp_path: Path
) -> None:
    server = serve(lambda q, t: completion(q))
    meter = Meter(price_read=1.0, price_written=2.0)
    teacher = Remembered(
        endpoint(server, meter=meter, most_cost=100e-6, concurrency=1), tmp_path / "said.jsonl"
    )
    asks = [ask(str(n)) for n in range(9)]
    with pytest.raises(ExnihiloError, match=r"was spent, of at most 0\.00; give more"):
        teacher.answer(asks)
    assert meter.cost == pytest.approx(100e-6) and server.asked.total() == 5
    again = Remembered(endpoint(server), tmp_path / "said.jsonl")
    assert [one.text for one in again.answer(asks)] == [str(n) for n in range(9)]
    assert server.asked.total() == 9 and again.remembered == 5


def test_a_killed_run_goes_on_where_it_was(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda q, t: completion(q))
    path = tmp_path / "said.jsonl"
    Remembered(endpoint(server), path).answer([ask("a"), ask("b")])
    with path.open("ab") as stream:
        stream.write(b'{"key": "cut sho')
    again = Remembered(endpoint(server), path)
    assert [one.text for one in again.answer([ask("a"), ask("b"), ask("c"), ask("c")])] == [
        "a",
        "b",
        "c",
        "c",
    ]
    assert server.asked == {"a": 1, "b": 1, "c": 1}
    third = Remembered(endpoint(server), path)
    assert third.answer([ask("c")])[0] == Said("c", "endpoint m", 10, 5) and server.asked["c"] == 1
    path.write_text('{"key": "x", "words": 3}\n')
    with pytest.raises(Refused, match="no answer of a teacher"):
        Remembered(endpoint(server), path)


def test_what_got_no_answer_is_asked_again(tmp_path: Path) -> None:
    known: dict[str, str] = {}
    teacher = ProgramTeacher("table", lambda messages: known[messages[-1]["content"]])
    kept = Remembered(teacher, tmp_path / "said.jsonl")
    (said,) = kept.answer([ask("a")])
    assert said.text is None and said.problem == "KeyError: 'a'"
    known["a"] = "A"
    assert kept.answer([ask("a")])[0].text == "A" and said.by == "program table"


def test_another_temperature_or_teacher_is_another_question() -> None:
    messages = [{"role": "user", "content": "a"}]
    keys = {
        Ask(messages).key("x"),
        Ask(messages).key("y"),
        Ask(messages, temperature=1.0).key("x"),
        Ask(messages, seed=1).key("x"),
        Ask(messages, schema={"type": "string"}).key("x"),
    }
    assert len(keys) == 5
