r"""Solved word problems of the user's, in the form that GSM8K has (arXiv 2110.14168).

A row has a `question` and an `answer` whose lines are steps and whose last line is `#### 42`; what a calculator was
told between `<<` and `>>` is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl
from exnihilo.synth.problem import family
from exnihilo.synth.question import Question
from exnihilo.verify.numbers import number

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_FINAL = "####"


@dataclass(frozen=True)
class Solved:
    """A problem with its lines of steps and its answer, a number as text."""

    question: str
    lines: tuple[str, ...]
    answer: str

    @property
    def steps(self) -> int:
        return len(self.lines)

    @property
    def key(self) -> str:
        """What the split goes by: the problem itself."""
        return blake3(self.question.encode()).hexdigest()[:16]

    def as_question(self) -> Question:
        """With the marked number as short answer, and its lines before it as a worked one."""
        short = f"{_FINAL} {self.answer}"
        worked = "\n".join([*self.lines, short])
        verifier = {"kind": "number", "value": self.answer}
        return Question(family(self.steps), self.key, self.question, self.answer, verifier, short, worked)


def read_solved(file: Path) -> Iterator[Solved]:
    """The problems of a JSONL file, in its order. Raises Refused with file and line for a row that is none."""
    for line, row in read_jsonl(file):
        question, answer = row.get("question"), row.get("answer")
        if not isinstance(question, str) or not isinstance(answer, str):
            raise Refused(
                f"{file}:{line}: not a solved problem: no question and answer as text; mend the row"
            )
        worked, mark, final = answer.rpartition(_FINAL)
        final = final.strip()
        if not mark or number(final) is None:
            raise Refused(
                f"{file}:{line}: not a solved problem: its answer does not end in a line like '#### 42'; mend the row"
            )
        lines = tuple(part.strip() for part in _CALCULATOR.sub("", worked).splitlines() if part.strip())
        if not lines:
            raise Refused(
                f"{file}:{line}: not a solved problem: no steps before '####'; mend or remove the row"
            )
        yield Solved(question.strip(), lines, final)
