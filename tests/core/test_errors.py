"""Errors: their exit codes, and that each is one line that says what to do."""

from __future__ import annotations

import signal

import pytest

from exnihilo.core.errors import (
    ConfigError,
    Diverged,
    ExnihiloError,
    Interrupted,
    MissingExtra,
    OutOfMemory,
    Refused,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ExnihiloError("x"), 1),
        (ConfigError("x"), 2),
        (MissingExtra("hub", needed_for="x"), 2),
        (Refused("x"), 3),
        (OutOfMemory("x"), 4),
        (Diverged("x"), 5),
        (Interrupted(signal.SIGINT), 130),
        (Interrupted(signal.SIGTERM), 143),
    ],
)
def test_exit_codes(error: ExnihiloError, code: int) -> None:
    assert isinstance(error, ExnihiloError) and error.exit_code == code


def test_messages_say_what_to_do() -> None:
    missing = MissingExtra("hub", needed_for="collecting a dataset by name")
    assert str(missing) == "collecting a dataset by name needs the extra 'hub': pip install 'exnihilo[hub]'"
    assert (
        str(Interrupted(signal.SIGTERM)) == "interrupted by SIGTERM; run the same command again to continue"
    )


def test_several_problems_are_a_line_each() -> None:
    error = ConfigError("a: wrong", "b: wrong")
    assert error.problems == ("a: wrong", "b: wrong") and str(error) == "a: wrong\nb: wrong"
