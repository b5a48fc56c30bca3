"""Whether an answer is right, asked of whoever knows: the held-out item, or the interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from exnihilo.synth.live import judge
from exnihilo.verify.check import check


@dataclass(frozen=True)
class Checked:
    """The verdict on one answer.

    Attributes:
        status: "unchecked" where nobody knows the right answer to the question.
        expected: the right answer, to be shown.
        got: what was read out of the answer.
        by: "held-out" or "interpreter".
    """

    status: Literal["correct", "incorrect", "unchecked"]
    expected: str | None = None
    got: str | None = None
    by: Literal["held-out", "interpreter"] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_answer(question: str, answer: str, items: Mapping[str, Mapping[str, Any]]) -> Checked:
    """Check an answer by the held-out item of its question (`items` by question), else by the interpreter."""
    item = items.get(question.strip())
    verifier = judge(question) if item is None else item["verifier"]
    if verifier is None:
        return Checked("unchecked")
    verdict = check(verifier, answer)
    if verdict.correct is None:
        return Checked("unchecked")
    return Checked(
        "correct" if verdict.correct else "incorrect",
        str(item["answer"]) if item is not None else _right_answer(verifier),
        verdict.got,
        "interpreter" if item is None else "held-out",
    )


def _right_answer(verifier: Mapping[str, Any]) -> str | None:
    if verifier.get("kind") == "unknown":
        return "I don't know"
    value = verifier.get("value")
    return None if value is None else str(value)
