"""The page `docs/errors.md`, made from the cases: `--write` puts it there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from all_cases import CASES, GROUPS
from bad_case import Case

LONGEST = 160
"""Characters of a command on the page."""
PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
HEAD = """\
# Bad input and its answers

What exnihilo says to {count} kinds of bad input. Each answer is one line a problem, on stderr: the file, key or row,
what is wrong with it, and what to do. Nothing that was there before is lost. Every answer on this page comes from a
test that gives the bad input to the command and compares what is printed; `…` stands for words that another version
of a library, or another machine, may choose otherwise.

What the exit codes mean is told in [doctor and errors](doctor-and-errors.md#errors).
"""


def written() -> str:
    """The text of the page."""
    parts = [HEAD.format(count=len(CASES))]
    for group in GROUPS:
        parts.append(f"\n## {group.title}\n\n{group.about}\n")
        parts += map(shown, group.cases)
    return "".join(parts)


def shown(case: Case) -> str:
    """A case as a paragraph and what is printed."""
    command = f"`exnihilo {case.command}`"
    if len(command) > LONGEST:
        command = f"`exnihilo {case.command[: LONGEST - 20]}…`"
    return f"\n**{case.wrong}**: {command} ends with {case.code}\n\n```text\n{case.answer}\n```\n"


def main() -> int:
    """Say whether the page is as the cases have it; with `--write`, write it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write the page")
    if parser.parse_args().write:
        PAGE.write_text(written(), encoding="utf-8")
    current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == written()
    print(f"{PAGE.name}: {'current' if current else 'not current'}")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
