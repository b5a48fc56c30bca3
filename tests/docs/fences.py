"""The fenced blocks of a Markdown page, and running those in Python as a reader would: in order, in one namespace.

`python tests/docs/fences.py PAGE …` runs pages in a temporary folder and shows where their output differs.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"```(\w*)")
ANYTHING = "…"
"""Stands, in an expected output, for what another machine or version may print there; alone on a line, for lines."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, and the 1-based line of the page that the text begins on."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Ran:
    """A Python block that was run, what it printed, and the block of output that the page shows for it."""

    code: Block
    printed: str
    shown: Block | None

    @property
    def problem(self) -> str | None:
        """How what was printed differs from what the page shows, or None."""
        if self.shown is None:
            return f"printed, and shown nowhere:\n{self.printed}" if self.printed else None
        if matches(self.shown.text, self.printed):
            return None
        return f"the page shows:\n{self.shown.text}\nprinted was:\n{self.printed}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page. Raises ValueError for a fence that is not closed."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = FENCE.fullmatch(lines[number])
        number += 1
        if fence is None:
            continue
        start = number
        while number < len(lines) and lines[number] != "```":
            number += 1
        if number == len(lines):
            raise ValueError(f"{page}:{start}: the fence is not closed")
        text = "".join(line + "\n" for line in lines[start:number])
        found.append(Block(fence[1], text, start + 1))
        number += 1
    return found


def run_python(page: Path, namespace: dict[str, Any]) -> list[Ran]:
    """Run the Python blocks of a page in the working directory; each `text` block after one is its output."""
    found = blocks(page)
    ran = []
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language != "python":
            continue
        # Empty lines before it, so that a traceback names the lines of the page.
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        out = io.StringIO()
        with redirect_stdout(out):
            exec(code, namespace)
        shown = following if following is not None and following.language == "text" else None
        ran.append(Ran(block, out.getvalue(), shown))
    return ran


def matches(shown: str, printed: str) -> bool:
    """Whether an output is what a page shows, `…` standing for anything on its line."""
    pattern = "".join(
        r"(?:.*\n)*?"
        if line.strip() == ANYTHING
        else ".*?".join(map(re.escape, line.rstrip().split(ANYTHING))) + "[ \t]*\n"
        for line in shown.splitlines()
    )
    ended = printed if printed.endswith("\n") or not printed else printed + "\n"
    return re.fullmatch(pattern, ended) is not None


def main(pages: list[str]) -> int:
    """Run pages, print the problems and return how many there are."""
    problems = 0
    for page in [Path(name).absolute() for name in pages]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for one in run_python(page, {"__name__": "chapter"}):
                if one.problem:
                    problems += 1
                    print(f"{page.name}:{one.code.line}: {one.problem}")
            os.chdir(page.parent)
    return problems


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
