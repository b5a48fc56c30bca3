"""What an answer must look like, as a request says it: OpenAI's `response_format`, a regular expression, a choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from exnihilo.core.config import Config
from exnihilo.core.errors import ConfigError

if TYPE_CHECKING:
    from exnihilo.infer.expressions import Pattern


class NamedSchema(Config):
    """A JSON schema with the name that the client gives it; it is always kept, whatever `strict` says."""

    name: str = "answer"
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Config):
    """Any text, some JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


@dataclass(frozen=True)
class Wanted:
    """A pattern for the answer, and a key by which an equal one is known again."""

    key: str
    pattern: Pattern


def wanted(
    response_format: ResponseFormat | None, regex: str | None, choice: list[str] | None
) -> Wanted | None:
    """What is asked for, if anything is.

    Raises ConfigError for two wishes at once, and for a pattern or a schema that cannot be decoded under.
    """
    from exnihilo.infer.json_schema import json_schema
    from exnihilo.infer.json_text import json_object
    from exnihilo.infer.regex import choice as one_of
    from exnihilo.infer.regex import regex as matching

    shaped = response_format if response_format is not None and response_format.type != "text" else None
    if len([wish for wish in (shaped, regex, choice) if wish is not None]) > 1:
        raise ConfigError("response_format, regex and choice exclude one another; give one of them")
    if regex is not None:
        return Wanted(f"regex {regex}", matching(regex))
    if choice is not None:
        return Wanted(f"choice {json.dumps(choice)}", one_of(choice))
    if shaped is None:
        return None
    if shaped.type == "json_object":
        return Wanted("object", json_object())
    if shaped.json_schema is None:
        raise ConfigError('response_format.json_schema: missing; give {"name": …, "schema": …}')
    schema = shaped.json_schema.schema_
    pattern = json_schema(schema)
    return Wanted(f"schema {json.dumps(schema)}", pattern)
