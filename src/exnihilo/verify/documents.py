"""JSON in replies, against a schema."""

from __future__ import annotations

import json
import re
from typing import Any

_FENCE = re.compile(r"```(?:json)?[^\S\n]*\n(.*?)(?:```|\Z)", re.DOTALL)


def final_block(reply: str) -> str:
    """The last fenced block of a reply, or all of it where there is none."""
    blocks = _FENCE.findall(reply)
    return (blocks[-1] if blocks else reply).strip()


def is_of_schema(text: str, schema: Any) -> bool:
    """Whether a text is JSON of a JSON schema."""
    import jsonschema

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(jsonschema.validators.validator_for(schema)(schema).is_valid(value))
