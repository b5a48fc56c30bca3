"""Our own commands as a user runs them: real processes."""

from __future__ import annotations

import subprocess
import sys

from exnihilo.core.errors import ExnihiloError


def exnihilo(*arguments: str) -> list[str]:
    """The command line, in this interpreter."""
    return [sys.executable, "-m", "exnihilo", *arguments]


def complete(command: list[str]) -> str:
    """Run a command to its end; what it printed on stdout. Raises ExnihiloError with its last line on failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["no output"]
        raise ExnihiloError(f"{' '.join(command[2:4])} ended with code {done.returncode}: {words[-1]}")
    return done.stdout
