"""Programs in replies, run in the sandbox: do they pass tests, do they print what is wanted?"""

from __future__ import annotations

import secrets

from exnihilo.sandbox.run import Limits, Outcome, run
from exnihilo.verify.fences import final_block

LIMITS = Limits(seconds=5.0)
LONGEST = 20_000  # characters of a reply that are read


def final_program(reply: str) -> str:
    """The last fenced block of a reply, or all of it where there is none."""
    return final_block(reply[:LONGEST], "python", "py")


def passes(reply: str, tests: str) -> bool:
    """Whether tests that follow the program end without an error. Raises Refused where nothing can be isolated.

    The tests must be passed to the end: a program that leaves before does not say the word that is drawn for this run.
    (One that searches its own frames for it could. Then its samples, and rewards without effort, give it away.)
    """
    word = secrets.token_hex(8)
    done = run(f"{final_program(reply)}\n\n{tests}\nprint({word!r})\n", limits=LIMITS)
    return _ended(done) and done.stdout.rstrip().endswith(word)


def prints(reply: str, expected: str, stdin: str = "") -> bool:
    """Whether the program prints a text, space at the ends of lines aside. Raises Refused as `passes`."""
    done = run(final_program(reply), stdin=stdin, limits=LIMITS)
    return _ended(done) and _lines(done.stdout) == _lines(expected)


def _ended(done: Outcome) -> bool:
    return done.how == "ended" and done.code == 0


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
