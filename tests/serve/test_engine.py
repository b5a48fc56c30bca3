from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.infer.chat import Event, Text
from exnihilo.serve.engine import Busy, Engine, Job


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(together=2, waiting=3)
    engine.start()
    yield engine
    engine.stop()
    assert engine.active == 0


class Endless:
    """An answer without end that counts its tokens and notes when it is closed."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = threading.Event()
        self.job = Job(self._events(), lambda event: None)

    def _events(self) -> Generator[Event, None, None]:
        try:
            while True:
                time.sleep(0.001)
                self.taken += 1
                yield Text("a")
        finally:
            self.closed.set()


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def test_answers_take_turns_token_by_token(engine: Engine) -> None:
    one, other = Endless(), Endless()
    engine.submit(one.job)
    engine.submit(other.job)
    _wait(lambda: other.taken > 50)
    assert abs(one.taken - other.taken) < one.taken / 2
    one.job.cancel()
    other.job.cancel()


def test_serve_2_the_queue_is_bounded_and_clients_that_left_hold_no_place(engine: Engine) -> None:
    running = [Endless() for _ in range(2)]
    waiting = [Endless() for _ in range(3)]
    for one in running:
        engine.submit(one.job)
    _wait(lambda: engine.active == 2)
    for one in waiting:
        engine.submit(one.job)
    with pytest.raises(Busy, match="3 answers are waiting"):
        engine.submit(Endless().job)
    waiting[0].job.cancel()
    engine.submit(Endless().job)
    assert engine.queued == 3
    running[0].job.cancel()
    _wait(lambda: waiting[1].taken > 0)
    assert waiting[0].taken == 0


def test_serve_7_a_cancelled_answer_takes_at_most_one_more_step(engine: Engine) -> None:
    one = Endless()
    engine.submit(one.job)
    _wait(lambda: one.taken > 5)
    one.job.cancel()
    taken = one.taken
    assert one.closed.wait(60)
    assert one.taken <= taken + 1
    _wait(lambda: engine.active == 0)


def test_a_failure_reaches_its_client_and_the_engine_lives_on(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> Generator[Event, None, None]:
        yield Text("a")
        raise error

    for error in (ConfigError("too long"), ZeroDivisionError("division")):
        heard: list[object] = []
        engine.submit(Job(fail(error), heard.append))
        _wait(lambda heard=heard: len(heard) == 2)
        assert heard == [Text("a"), error]
    assert "ZeroDivisionError" in capsys.readouterr().err
    alive = Endless()
    engine.submit(alive.job)
    _wait(lambda: alive.taken > 3)


def test_stopping_ends_everything() -> None:
    engine = Engine(together=1, waiting=3)
    engine.start()
    first, second = Endless(), Endless()
    engine.submit(first.job)
    engine.submit(second.job)
    _wait(lambda: first.taken > 0)
    engine.stop()
    assert first.closed.is_set() and second.taken == 0
