"""The command `exnihilo`: the tree of commands, and what a failure looks like."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError

from exnihilo import __version__
from exnihilo.cli import chat, explain, inspection, lab, run, stages, tokens_show
from exnihilo.core.errors import ExnihiloError

HELP = """From raw text to an evaluated, aligned chat model.

Start with: exnihilo run quickstart, then: exnihilo chat runs/quickstart --web
"""
EPILOGUE = "Any command takes --debug: a failure then shows its traceback."


def tree() -> App:
    """The commands with their help. Nothing heavy is imported before a command runs."""
    app = App(
        name="exnihilo",
        help=HELP,
        help_format="plaintext",
        help_epilogue=EPILOGUE,
        version=__version__,
        suppress_keyboard_interrupt=False,
    )
    run.register(app)
    lab.register(app)
    stages.register(app)
    inspection.register(app)
    tokens_show.register(app)
    explain.register(app)
    chat.register(app)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; failures are lines on stderr (`--debug`: a traceback)."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = tree()(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(_usage(error), 2, debug)
    except ExnihiloError as error:
        return _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return _fail("interrupted", 130, debug)
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong, and Python must not flush into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _fail("out of memory; take a smaller model, or fewer rows at a time", 4, debug)
    except OSError as error:
        what = f"{error.filename or 'system'}: {error.strerror or error}"
        return _fail(f"{what}; check the path and its permissions", 1, debug)
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return _fail(f"{message} (this is a bug; run again with --debug to see where)", 1, debug)
    return code if isinstance(code, int) else 0


def _usage(error: CycloptsError) -> str:
    """What is wrong with the words of the command line, on one line with what to do."""
    message = " ".join(str(error).split())
    if "Did you mean" in message or "Choose from" in message:
        return message
    words = " ".join(["exnihilo", *(error.command_chain or ()), "--help"])
    return f"{message.rstrip('.')}; see {words}"


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    for line in message.splitlines():
        print(f"error: {_from_here(line)}", file=sys.stderr)
    return code


def _from_here(line: str) -> str:
    """A message with the paths below the working directory as the user would write them."""
    try:
        here = Path.cwd().as_posix().rstrip("/")
    except FileNotFoundError:  # somebody removed the folder that we stand in
        return line
    return re.sub(rf"(?<![^\s'\"(:=,]){re.escape(here)}/(?=\S)", "", line)
