"""JSON in replies, against a schema."""

from __future__ import annotations

import json
from typing import Any


def is_of_schema(text: str, schema: Any) -> bool:
    """Whether a text is JSON of a JSON schema."""
    import jsonschema

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(jsonschema.validators.validator_for(schema)(schema).is_valid(value))
