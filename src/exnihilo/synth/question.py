"""A question whose answer the interpreter knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    family: str
    key: str  # what the split goes by: a name, a structure, a topic
    prompt: str
    answer: str
    verifier: dict[str, Any]
    reply: str  # a short answer
    worked: str | None = None  # the same answer after its steps, where it has steps


def code(answer: str) -> dict[str, Any]:
    """Verifier for an answer in backticks."""
    return {"kind": "code", "value": answer}


def words(answer: str) -> dict[str, Any]:
    """Verifier for an answer in plain words."""
    return {"kind": "words", "value": answer}
