"""The questions that answers are sampled to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import read_jsonl
from exnihilo.verify.questions import messages_fault, read_questions


def read_prompts(
    examples: Path, families: list[str] | None, *, verified: bool = True
) -> tuple[list[dict[str, Any]], set[str]]:
    """The questions of these families (None: of all) in `prompts.jsonl`, and the families; `verified`: each needs a
    verifier."""
    file = examples / "prompts.jsonl"
    if not file.is_file():
        raise Refused(f"{file}: not found; give a folder of examples with questions to sample answers to")
    if verified:
        items = [item for _, item in read_questions(file, what="a question with a verifier", needs=())]
    else:
        items = [_asked(file, line, row) for line, row in read_jsonl(file)]
    if not items:
        raise Refused(f"{file}: no prompts to sample answers to; give one JSON object a line")
    known = {item["family"] for item in items}
    missing = sorted(set(families or known) - known)
    if missing:
        raise ConfigError(
            f"families: no prompts of {missing} in {file}; there are {', '.join(sorted(known))}"
        )
    wanted = set(families or known)
    return [item for item in items if item["family"] in wanted], wanted


def _asked(file: Path, line: int, row: dict[str, Any]) -> dict[str, Any]:
    reason = messages_fault(row)
    if reason is not None:
        raise Refused(f"{file}:{line}: not a question: {reason}; mend or remove the row")
    return {"family": "", **row}
