"""A chat in the terminal: answers stream to stdout, everything else goes to stderr."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exnihilo.core.errors import ConfigError
from exnihilo.infer.sampling import Sampling
from exnihilo.serve.targets import find

if TYPE_CHECKING:
    from exnihilo.infer.chat import ChatSession

HELP = "/system TEXT sets the system prompt and starts anew, /reset starts anew, /quit ends"


def chat(target: Path, *, system: str | None, sampling: dict[str, Any], prompt: str | None) -> None:
    """Talk to the model in `target`, or to the last aligned one of the run in `target`.

    A `prompt`, or all of standard input where that is no terminal, is answered once. `sampling` holds fields
    of `Sampling` and `seed`; what is None keeps its default. Raises ConfigError for others, Refused where
    `target` holds no model.
    """
    try:
        settings, seed = read_sampling(sampling)
    except ConfigError as error:
        raise ConfigError(*map(_as_option, error.problems)) from error
    found = find(target)
    served = found.last
    if len(found.models) > 1:
        names = ", ".join(model.name for model in found.models)
        _say(f"talking to {served.name} ({served.role}), of {names}; give {target / 'STAGE'} for another")
    if prompt is None and not sys.stdin.isatty():
        try:
            prompt = sys.stdin.read().strip()
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"standard input: not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}); convert it"
            ) from error
        if not prompt:
            raise ConfigError("standard input is empty; pipe a question in, or run in a terminal")
    from exnihilo.infer.chat import ChatSession
    from exnihilo.serve.sessions import load

    session = ChatSession(*load(served.folder), system=system, sampling=settings, seed=seed)
    if prompt is not None:
        answer(session, prompt)
    else:
        _converse(session, system)


def _as_option(problem: str) -> str:
    """A problem with a field of `Sampling` ("top_p: 2.0; must be …") as one with the option for it."""
    field, _, told = problem.partition(":")
    return f"--{field.replace('_', '-')}: got{told}"


def read_sampling(values: dict[str, Any]) -> tuple[Sampling, int]:
    """Settings and seed from options; None is an option that was not given. Raises ConfigError."""
    given = {name: value for name, value in values.items() if value is not None}
    seed = int(given.pop("seed", 0))
    known = [field.name for field in fields(Sampling)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(f"sampling.{unknown[0]}: unknown; one of {', '.join([*known, 'seed'])}")
    if "stop" in given and not isinstance(given["stop"], str):
        given["stop"] = tuple(given["stop"])
    return Sampling(**given), seed


def answer(session: ChatSession, text: str) -> None:
    """Say `text` and print the answer as it comes."""
    from exnihilo.infer.chat import Dropped, Text

    for event in session.events(text):
        if isinstance(event, Text):
            print(event.text, end="", flush=True)
        elif isinstance(event, Dropped):
            _say(f"[the context is full: {event.messages} of the oldest messages are forgotten]")
    print(flush=True)


def _converse(session: ChatSession, system: str | None) -> None:
    _say(HELP)
    while True:
        try:
            line = _read_line().strip()
        except (EOFError, KeyboardInterrupt):
            _say("")
            return
        command, _, rest = line.partition(" ")
        if command == "/quit":
            return
        if command in ("/reset", "/system"):
            system = (rest.strip() or None) if command == "/system" else system
            session.reset(system)
            _say("a new conversation" + (f", system prompt: {system}" if system else ""))
        elif line.startswith("/"):
            _say(HELP)
        elif line:
            _turn(session, line)


def _read_line() -> str:
    if sys.stdout.isatty():
        # input() edits lines and keeps a history once readline is imported, where the system has it.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
        return input("> ")
    print("> ", end="", file=sys.stderr, flush=True)
    return input()


def _turn(session: ChatSession, text: str) -> None:
    try:
        answer(session, text)
    except KeyboardInterrupt:
        _say(" [stopped]")
    except ConfigError as error:
        _say(f"error: {error}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
