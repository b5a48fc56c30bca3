"""What this machine refuses: ports, folders, space, memory."""

from __future__ import annotations

import fcntl
import resource
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bad_case import Case

LAST_PORT = 65535


@contextmanager
def taken(port: int) -> Iterator[None]:
    """A port in use, by us or already by another."""
    with closing(socket.socket()) as listener:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            pass
        yield


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Another process at work in a folder."""
    with Path(path).open("a+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        stream.write("4711")
        stream.flush()
        yield


CASES = [
    Case(
        "A port in use, and all after it",
        f"chat runs/good/base --web --no-browser --port {LAST_PORT}",
        2,
        "error: --port 65535: no free port from 65535 to 65535; give another",
        during=lambda: taken(LAST_PORT),
    ),
    Case(
        "A port that there is not",
        "chat runs/good/base --web --no-browser --port 70000",
        2,
        "error: --port: got 70000; allowed: int from 1 to 65535, or 0 for any free one",
    ),
    Case(
        "An address that this machine has not",
        "chat runs/good/base --web --no-browser --host 192.0.2.1",
        2,
        "error: --host 192.0.2.1: Cannot assign requested address; use 127.0.0.1",
    ),
    Case(
        "Two runs in one folder",
        "run good.yaml",
        3,
        "error: another exnihilo (pid 4711) is working in runs/good; wait for it or use another folder",
        during=lambda: locked("runs/good/.lock"),
        process=True,
    ),
    Case(
        "Two stages in one folder",
        "collect --from.path texts",
        3,
        "error: another exnihilo (pid 4711) is working in runs/collect; wait for it or use another folder",
        during=lambda: locked("runs/.collect.lock"),
    ),
    Case(
        "A folder where nobody may write",
        "run good.yaml --run /proc/mine",
        3,
        "error: /proc/mine: cannot write there (…); choose another folder",
        process=True,
    ),
    Case(
        "A file where a folder goes",
        "run good.yaml --run good.yaml",
        3,
        "error: good.yaml: cannot write there (…); choose another folder",
    ),
    Case(
        "A file in the way of an artifact",
        "collect --from.path texts --out good.yaml",
        3,
        (
            "error: good.yaml: in the way, and not an artifact (it has no manifest.json); move it, or choose "
            "another folder"
        ),
    ),
    Case(
        "A folder with a recipe that no run wrote",
        "run good.yaml --run mine",
        3,
        "error: mine: holds a recipe.yaml that no run wrote; give another folder with --run",
        {"mine/recipe.yaml": "stages: {}\n"},
    ),
    Case(
        "A folder of the user's where an artifact goes",
        "collect --from.path texts --out questions",
        3,
        (
            "error: questions: in the way, and not an artifact (it has no manifest.json); move it, or choose "
            "another folder"
        ),
    ),
    Case(
        "A full disk while text is collected",
        "collect --from.path texts --out new/texts",
        1,
        "error: new/texts: no space left; free some and run it again to continue",
        process=True,
        limits={resource.RLIMIT_FSIZE: 1024},
    ),
    Case(
        "A full disk while a tokenizer is written",
        "tokenizer train --corpus runs/good/corpus --vocabulary 300 --out new/tokenizer",
        1,
        (
            "error: new/tokenizer.partial/tokenizer.json: cannot write (File too large); check space and "
            "permissions"
        ),
        process=True,
        limits={resource.RLIMIT_FSIZE: 4096},
    ),
    Case(
        "A model larger than the memory",
        "pretrain --tokens runs/good/tokens --steps 1 --model.depth 1 --model.width 30000 --model.heads 1",
        4,
        (
            "error: pretrain: out of memory; give it fewer rows at a time (micro_rows, rows, batch), shorter "
            "ones, or a smaller model"
        ),
        process=True,
        limits={resource.RLIMIT_AS: 6 << 30},
    ),
    Case(
        "A question in no UTF-8 from a pipe",
        "chat runs/good/base",
        2,
        "error: standard input: not UTF-8 (byte 1 is 0xf9); convert it",
        stdin="Où?".encode("latin-1"),
    ),
    Case(
        "No question from a pipe",
        "chat runs/good/base",
        2,
        "error: standard input is empty; pipe a question in, or run in a terminal",
        stdin=b"",
    ),
    Case(
        "A file that may not be read",
        "sft --model runs/good/base --examples chats.jsonl",
        1,
        "error: chats.jsonl: Permission denied; change its permissions, or use another folder",
        make=lambda: Path("chats.jsonl").chmod(0),
        permissions=True,
    ),
    Case(
        "A folder that may only be read",
        "collect --from.path texts --out questions/new",
        1,
        "error: questions/events.jsonl: Permission denied; change its permissions, or use another folder",
        make=lambda: Path("questions").chmod(0o500),
        permissions=True,
    ),
]
