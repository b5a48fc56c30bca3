"""Files of questions with verifiers, `prompts.jsonl` and `held_out.jsonl`: each row is checked when it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl
from exnihilo.verify.check import KINDS
from exnihilo.verify.constraints import CONSTRAINTS
from exnihilo.verify.numbers import number


def read_questions(
    path: Path, *, what: str, needs: Collection[str], limit: int | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(1-based line, row) of the first `limit` questions, in file order.

    `what` is what errors call a question ("an evaluation item"), `needs` the fields that it must have beside
    `family`, `messages` and `verifier`. Raises Refused with file and line for a row that is no question or
    could not be checked.
    """
    for line, row in read_jsonl(path, limit=limit):
        reason = fault(row, needs)
        if reason is not None:
            raise Refused(f"{path}:{line}: not {what}: {reason}; mend or remove the row")
        yield line, row


def fault(row: Mapping[str, Any], needs: Collection[str] = ()) -> str | None:
    """Why a row is no question with a verifier, or None."""
    missing = [name for name in (*needs, "family", "messages", "verifier") if name not in row]
    if missing:
        return f"no {', '.join(missing)}"
    if not isinstance(row["family"], str):
        return "family is not text"
    if "id" in needs and not isinstance(row["id"], str | int):
        return "id is not text"
    return messages_fault(row) or verifier_fault(row["verifier"])


def messages_fault(row: Mapping[str, Any]) -> str | None:
    """Why a row asks nothing, or None."""
    messages = row.get("messages")
    if not (isinstance(messages, list) and messages and all(map(_is_message, messages))):
        return 'messages is not a list of {"role": …, "content": …}'
    return None


def verifier_fault(verifier: Any) -> str | None:
    """Why `check` could say nothing with this verifier, or None."""
    if not isinstance(verifier, Mapping):
        return 'verifier is not {"kind": …, "value": …}'
    kind = verifier.get("kind")
    if kind not in KINDS:
        return f"no verifier of kind {kind!r:.40}; there are {', '.join(KINDS)}"
    if KINDS[kind] and not isinstance(verifier.get("value"), str):
        return f"a verifier of kind {kind} needs a text as value"
    if kind == "number" and number(verifier["value"]) is None:
        return f"a verifier of kind number needs a number as value, not {verifier['value']!r:.40}"
    if kind in ("schema", "constraints"):
        return _json_fault(kind, verifier["value"])
    if kind == "regex":
        try:
            re.compile(verifier["value"])
        except re.error as error:
            return f"a verifier of kind regex: {verifier['value']!r:.40} is no regular expression ({error})"
    return None


def _json_fault(kind: str, value: str) -> str | None:
    """Why the JSON in a verifier is not what its kind wants, or None."""
    try:
        wanted = json.loads(value)
    except ValueError as error:
        return f"a verifier of kind {kind} needs JSON as value ({error})"
    if kind == "constraints":
        names, given = (
            wanted.get(key) if isinstance(wanted, dict) else None for key in ("instruction_id_list", "kwargs")
        )
        if not (isinstance(names, list) and isinstance(given, list) and len(names) == len(given) > 0):
            return "a verifier of kind constraints needs instruction_id_list and kwargs, lists of one length"
        unknown = [name for name in names if name not in CONSTRAINTS]
        return f"no constraint {unknown[0]!r:.60}; there are {', '.join(CONSTRAINTS)}" if unknown else None
    import jsonschema

    try:
        jsonschema.validators.validator_for(wanted).check_schema(wanted)
    except jsonschema.SchemaError as error:
        return f"a verifier of kind schema: {error.message:.80}"
    return None


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and isinstance(message.get("role"), str) and "content" in message
