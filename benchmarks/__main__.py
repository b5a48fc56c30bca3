"""`python -m benchmarks NAME [--quick]`: run a benchmark, print its table and one last line of JSON."""

from __future__ import annotations

import argparse
import importlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import last_line, table
from benchmarks.load import BUSY, Others
from exnihilo.core.errors import ExnihiloError
from exnihilo.core.machine import describe

NAMES = (
    "training",
    "generation",
    "steady",
    "quality",
    "lora",
    "alignment",
    "reward_models",
    "survival",
    "corpus",
)


def main(argv: Sequence[str] | None = None) -> int:
    """0: measured; 1: the systems did not do the same work, or one failed. A goal missed is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--quick", action="store_true", help="the smallest case, within 50 seconds")
    chosen = parser.parse_args(argv)
    others = Others()
    try:
        outcome = importlib.import_module(f"benchmarks.{chosen.name}").run(chosen.quick)
    except ExnihiloError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    share = others.share()
    print(table(outcome))
    busy = share is not None and share > BUSY
    if busy:
        print(
            f"\nTHE MACHINE WAS BUSY: other processes took {share:.0%} of it. Speeds measured so don't count."
        )
    circumstances = {
        "quick": chosen.quick,
        "busy": busy,
        "others": None if share is None else round(share, 3),
        "machine": describe(),
        "commit": commit(),
    }
    print(last_line(chosen.name, outcome, **circumstances), flush=True)
    return 0 if outcome.same_work else 1


def commit() -> str | None:
    """The commit that was measured, with "+" where files differ from it; None outside a repository."""
    root = Path(__file__).parents[1]
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


if __name__ == "__main__":
    # As Ctrl-C does: on the way out, systems at work are ended.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
