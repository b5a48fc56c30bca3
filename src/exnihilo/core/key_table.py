"""The keys of a schema as rows: for the documentation, `--help` and `exnihilo explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from exnihilo.core.problems import show
from exnihilo.core.schema import describe, field_type, nested


@dataclass(frozen=True)
class Row:
    """A key of a schema, as the documentation, `--help` and `explain` show it.

    `why` tells why the default is what it is, `example` is a value to try; `marks` are those of `Config`'s
    docstring: cosmetic, horizon.
    """

    key: str
    type: str
    default: str
    description: str
    why: str = ""
    example: str = ""
    marks: frozenset[str] = frozenset()


def key_table(
    schema: type[BaseModel],
    above: str = "",
    *,
    given: BaseModel | None = None,
    whys: Mapping[str, str] | None = None,
) -> list[Row]:
    """Every key of a schema with its type, default and description; a section's keys follow it.

    A section's defaults are those of the value `given` in the schema above it, where there is one, and so are
    the reasons for them (`whys`, from that field's `json_schema_extra`).
    """
    rows: dict[str, Row] = {}
    for attribute, field in schema.model_fields.items():
        name = field.alias or attribute
        key, annotation = f"{above}{name}", field_type(field)
        sections = nested(annotation)
        required = given is None and field.is_required()
        value = getattr(given, attribute) if given else field.get_default(call_default_factory=True)
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        # A section that is always there is known by its keys.
        always = bool(sections) and isinstance(value, BaseModel)
        if not always:
            rows[key] = Row(
                key,
                describe(annotation),
                "required" if required else _default(value),
                " ".join((field.description or "").split()),
                (whys or {}).get(name) or str(extra.get("why", "")),
                str(extra.get("example", "")),
                frozenset(mark for mark in ("cosmetic", "horizon") if extra.get(mark)),
            )
        below: Any = extra.get("whys")
        for section in sections:
            inner = value if always and isinstance(value, section) else None
            for row in key_table(section, f"{key}.", given=inner, whys=below):
                rows.setdefault(row.key, row)
    return list(rows.values())


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True)
    return value if isinstance(value, str) and value else show(value)
