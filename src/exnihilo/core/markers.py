"""What a field's annotation says beyond its type: it names an artifact, or is a count such as 8M."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}


@dataclass(frozen=True)
class Reference:
    """Marks a field that names an artifact of `kind`: a stage of the recipe, or a path."""

    kind: str


def Ref(kind: str) -> Any:
    """The type of a field that names an artifact: `tokens: Ref("tokens")`, `models: list[Ref("model")]`.

    A type checker wants a name instead of a call there: `TokensRef`, `list[ModelRef]`, and so on below.
    """
    return Annotated[str, Reference(kind)]


CorpusRef = Annotated[str, Reference("corpus")]
TokenizerRef = Annotated[str, Reference("tokenizer")]
TokensRef = Annotated[str, Reference("tokens")]
ExamplesRef = Annotated[str, Reference("examples")]
ModelRef = Annotated[str, Reference("model")]
RewardRef = Annotated[str, Reference("reward")]
ResultsRef = Annotated[str, Reference("results")]
AdapterRef = Annotated[str, Reference("adapter")]


@dataclass(frozen=True)
class CountMark:
    """Marks a whole number that may be written with a suffix."""


def parse_count(value: Any) -> Any:
    """ "8M", "3.5M", "8_000", 8e6 -> int; suffixes k, M, G or B, T are powers of 1000. Others pass unchanged.

    Raises PydanticCustomError, a ValueError, for text that is no count and for a value that is not whole.
    """
    if isinstance(value, str):
        text = value.strip().replace("_", "")
        scale = SUFFIXES.get(text[-1:].lower(), 1)
        try:
            number = Decimal(text if scale == 1 else text[:-1]) * scale
        except InvalidOperation:
            raise PydanticCustomError("count", "not a count") from None
        if not number.is_finite() or number != number.to_integral_value():
            raise PydanticCustomError("count", "not a whole number")
        return int(number)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


Count = Annotated[int, BeforeValidator(parse_count), CountMark()]
"""A whole number that may be written 8M, 3.5M, 20k or 8e6."""


def why(reason: str, *, example: str | None = None) -> dict[str, Any]:
    """For a field's `json_schema_extra`: why its default is what it is, and a value for an example.

    `exnihilo explain` shows both; numbers and sources belong here, what the key does in the description.
    """
    return {"why": reason} if example is None else {"why": reason, "example": example}
