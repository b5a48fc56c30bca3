"""Every choice that a schema offers can be chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from exnihilo.core.config import Config, resolve
from exnihilo.core.errors import ConfigError
from exnihilo.core.schema import field_type, fields, members, nested, unwrap
from exnihilo.recipes import stages


def choices(schema: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(key, option) of every option of every fixed choice in a schema and its sections."""
    for name, field in fields(schema).items():
        for member in members(field_type(field)):
            inner, _ = unwrap(member)
            if get_origin(inner) is Literal:
                yield from (((*above, name), option) for option in get_args(inner))
        for section in nested(field_type(field)):
            yield from choices(section, (*above, name))


def offered() -> list[Any]:
    found = []
    for verb in stages.VERBS:
        schema = stages.find(verb).config
        for key, option in choices(schema):
            found.append(pytest.param(schema, key, option, id=f"{verb}.{'.'.join(key)}={option}"))
    return found


@pytest.mark.parametrize(("schema", "key", "option"), offered())
@pytest.mark.parametrize("text", [False, True], ids=["yaml", "flag"])
def test_core_8_every_choice_of_every_schema_is_accepted(
    schema: type[Config], key: tuple[str, ...], option: Any, text: bool
) -> None:
    given: Any = str(option) if text else option
    for part in reversed(key):
        given = {part: given}
    layer: dict[str, Any] = {"flags": given} if text else {"files": [("r", given)]}
    try:
        resolve(schema, environ={}, **layer)
    except ConfigError as error:
        # Other keys may be required; nothing may be said against this one.
        against = [
            line for line in error.problems if f"{'.'.join(key)}: got" in line or "unknown key" in line
        ]
        assert not against
        assert all(": required" in line for line in error.problems), error.problems


def test_core_8_a_choice_that_is_not_offered_is_refused() -> None:
    class Two(Config):
        kind: Literal["a", "b"] = "a"

    assert [option for _, option in choices(Two)] == ["a", "b"]
    with pytest.raises(ConfigError, match=r"allowed: a \| b"):
        resolve(Two, flags={"kind": "c"}, environ={})
