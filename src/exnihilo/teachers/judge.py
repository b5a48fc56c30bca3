"""A teacher as judge: grades of single answers, and which of two is better, asked in both orders (arXiv 2306.05685).

A judge may abstain: who says nothing that can be read gives None, which is neither a bad grade nor a tie.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from exnihilo.teachers.teacher import Ask, Said, Teacher

LOWEST, HIGHEST = 1, 10
CRITERIA = "how well it does what was asked: right, complete, to the point"
_GRADE = {
    "type": "object",
    "properties": {"grade": {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}},
    "required": ["grade"],
    "additionalProperties": False,
}
_BETTER = {
    "type": "object",
    "properties": {"better": {"enum": ["A", "B", "tie"]}},
    "required": ["better"],
    "additionalProperties": False,
}


@dataclass
class Judge:
    """Asks a teacher, and counts how often it abstained and what it said first when it did.

    `criteria` completes "Judge …".
    """

    teacher: Teacher
    criteria: str = CRITERIA
    asked: int = 0
    abstained: int = 0
    first_problem: str = field(default="")

    def grades(self, questions: Sequence[str], answers: Sequence[str]) -> list[float | None]:
        """A grade for each answer, from 0 (the lowest) to 1, or None."""
        asks = [
            self._ask(
                f"Judge {self.criteria}.\n\n[Question]\n{question}\n\n[Answer]\n{answer}\n\n[End]\nGrade the answer "
                f'from {LOWEST} (worst) to {HIGHEST} (best). Reply with JSON alone: {{"grade": NUMBER}}.',
                _GRADE,
            )
            for question, answer in zip(questions, answers, strict=True)
        ]
        return [self._grade(one) for one in self.teacher.answer(asks)]

    def wins(self, questions: Sequence[str], a: Sequence[str], b: Sequence[str]) -> list[float | None]:
        """1 where the answer of `a` is better, 0 where that of `b` is, 0.5 for a tie, None where the judge abstained.

        Each pair is shown in both orders. Only what is said in both counts as a win: a judge who always prefers what
        stands first calls every pair a tie.
        """
        asks = [
            self._ask(
                f"Judge {self.criteria}.\n\n[Question]\n{question}\n\n[Answer A]\n{first}\n\n[Answer B]\n{second}\n\n"
                'Which answer is better? Reply with JSON alone: {"better": "A"}, {"better": "B"} or {"better": "tie"}.',
                _BETTER,
            )
            for question, one, other in zip(questions, a, b, strict=True)
            for first, second in ((one, other), (other, one))
        ]
        said = [self._better(one) for one in self.teacher.answer(asks)]
        return [_agreed(forward, backward) for forward, backward in zip(said[::2], said[1::2], strict=True)]

    def _ask(self, text: str, schema: dict[str, Any]) -> Ask:
        self.asked += 1
        return Ask([{"role": "user", "content": text}], max_new=64, schema=schema)

    def _grade(self, said: Said) -> float | None:
        grade = self._field(said, "grade")
        if isinstance(grade, int) and not isinstance(grade, bool) and LOWEST <= grade <= HIGHEST:
            return (grade - LOWEST) / (HIGHEST - LOWEST)
        self._abstain(said)
        return None

    def _better(self, said: Said) -> str | None:
        better = self._field(said, "better")
        if better in ("A", "B", "tie"):
            return str(better)
        self._abstain(said)
        return None

    def _abstain(self, said: Said) -> None:
        self.abstained += 1
        self.first_problem = self.first_problem or said.problem or f"it said {said.text!r:.80}"

    @staticmethod
    def _field(said: Said, name: str) -> Any:
        """A field of the JSON object in an answer, in whatever it is wrapped."""
        text = said.text or ""
        start, end = text.find("{"), text.rfind("}")
        try:
            found = json.loads(text[start : end + 1]) if start >= 0 else None
        except (ValueError, RecursionError):
            return None
        return found.get(name) if isinstance(found, dict) else None


def _agreed(forward: str | None, backward: str | None) -> float | None:
    if forward is None or backward is None:
        return None
    if (forward, backward) == ("A", "B"):
        return 1.0
    return 0.0 if (forward, backward) == ("B", "A") else 0.5
