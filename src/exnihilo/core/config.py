"""Typed configs: one schema a stage, filled from files, flags and the environment, refused where wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from exnihilo.core.coerce import coerce
from exnihilo.core.errors import ConfigError
from exnihilo.core.key_table import Row, key_table
from exnihilo.core.layers import environment, merge, parse_flags, read_yaml
from exnihilo.core.markers import (
    AdapterRef,
    CorpusRef,
    Count,
    ExamplesRef,
    ModelRef,
    Ref,
    Reference,
    ResultsRef,
    RewardRef,
    TokenizerRef,
    TokensRef,
    why,
)
from exnihilo.core.problems import Key, Label, has, problems
from exnihilo.core.schema import describe, field_type, fields, marker, mentions, nearest, nested

__all__ = [
    "AdapterRef",
    "Config",
    "CorpusRef",
    "Count",
    "ExamplesRef",
    "ModelRef",
    "Ref",
    "ResultsRef",
    "RewardRef",
    "Row",
    "TokenizerRef",
    "TokensRef",
    "key_table",
    "merge",
    "nearest",
    "parse_flags",
    "read_yaml",
    "references",
    "resolve",
    "result_config",
    "validate",
    "why",
]

Schema = TypeVar("Schema", bound="Config")


class Config(BaseModel):
    """A schema of keys. Fields carry `Field(description=…)`; unknown keys and NaN are errors.

    `Field(json_schema_extra={"cosmetic": True})` marks a key that cannot change the result (how often to
    log): it stays out of the artifact's key. `{"horizon": True}` marks one that changes how long a stage goes
    on, not what it has done so far (number of steps): a stage under way is continued when only such keys
    changed. `why(…)` adds why the default is what it is; a section whose defaults differ from its schema's
    gives `{"whys": {KEY: …}}`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, populate_by_name=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """`steps: yes` is not 1, and `name: no` is not the text "no": pydantic would take the first."""
        given = value if isinstance(value, list) else [value]
        if any(isinstance(one, bool) for one in given):
            annotation = field_type(cls.model_fields[str(info.field_name)])
            if not _takes_booleans(annotation):
                raise PydanticCustomError("boolean", "true or false is not allowed")
        return value


def _takes_booleans(annotation: Any) -> bool:
    return mentions(annotation, bool, Any, dict, True, False) or bool(nested(annotation))


def references(schema: type[Config]) -> dict[str, str]:
    """{field: artifact kind} of the fields that name artifacts."""
    found = {name: marker(field_type(field), Reference) for name, field in fields(schema).items()}
    return {name: mark.kind for name, mark in found.items() if mark is not None}


def validate(schema: type[Schema], values: Mapping[str, Any], *, where: str) -> Schema:
    """Build a config; raises ConfigError with one line a problem: `where: key: got VALUE; allowed: …`."""
    return _build(schema, values, lambda _, key: _join(where, _dotted(key)))


def resolve(
    schema: type[Schema],
    *,
    files: Sequence[Path | str | tuple[str, Mapping[str, Any]]] = (),
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    where: str = "",
) -> Schema:
    """Build a config from layers: flags, later files, earlier files, environment, defaults; first wins.

    `files` are YAML paths, or (label, values) already read. `flags` is what `parse_flags` gave, of which text
    is read by the schema's types. `where` is the stage's name in a recipe: it goes before the keys in
    messages (`base.steps`, `--base.steps`) and in variables (EXNIHILO_BASE__STEPS; EXNIHILO_STEPS without
    one; sections are parted by two underscores). `environ` is `os.environ` unless given. Raises ConfigError.
    """
    layers: list[_Layer] = [_environment_layer(schema, os.environ if environ is None else environ, where)]
    for file in files:
        label, values = file if isinstance(file, tuple) else (str(file), read_yaml(file))
        layers.append(_Layer(label, "file", values))
    given = flags or {}
    _check_given(schema, given, where)
    layers.append(_Layer("", "flag", coerce(schema, given)))

    def label_of(at: Key, key: Key) -> str:
        layer = _origin(layers, at)
        if layer is not None:
            return layer.label_of(key, where)
        path = _dotted((where, *key) if where else key)
        return f"--{path}" if key else path

    return _build(schema, merge(*(layer.values for layer in layers)), label_of)


@dataclass(frozen=True)
class _Layer:
    label: str
    kind: str
    values: Mapping[str, Any]

    def label_of(self, key: Key, where: str) -> str:
        path = _dotted((where, *key) if where else key)
        if self.kind == "flag":
            return f"--{path}"
        if self.kind == "environment":
            return f"{self.label}{'__'.join(str(part) for part in key).upper()}: {path}"
        return _join(self.label, path)


def _origin(layers: Sequence[_Layer], key: Key) -> _Layer | None:
    """The layer that a value came from; for a key that nobody gave, the one with most of the path to it."""
    for length in range(len(key), 0, -1):
        for layer in reversed(layers):
            if _holds(layer.values, key[:length]):
                return layer
    return next((layer for layer in reversed(layers) if layer.kind == "file"), None)


def _holds(values: Any, key: Key) -> bool:
    for part in key:
        if not has(values, part):
            return False
        values = values[part]
    return True


def _environment_layer(schema: type[Config], environ: Mapping[str, str], where: str) -> _Layer:
    prefix = "EXNIHILO_" + ("".join(c if c.isalnum() else "_" for c in where).upper() + "__" if where else "")
    values = environment(prefix, environ)
    if not where:
        # Without a stage's name the prefix is shared with variables that are no keys (EXNIHILO_DATA).
        values = {key: value for key, value in values.items() if key in fields(schema)}
    return _Layer(prefix, "environment", coerce(schema, values))


def _check_given(schema: type[Config], given: Mapping[str, Any], where: str) -> None:
    """A flag without a value is `true`, which only some keys take; a flag given twice is a list."""
    wrong = []
    for name, field in fields(schema).items():
        value = next((given[key] for key in (name, name.replace("_", "-")) if key in given), None)
        annotation = field_type(field)
        flag = f"--{where}.{name}" if where else f"--{name}"
        if value is True and not _takes_booleans(annotation):
            wrong.append(f"{flag}: a value is missing; allowed: {describe(annotation)}")
        elif (
            isinstance(value, list) and not mentions(annotation, list) and "list" not in describe(annotation)
        ):
            wrong.append(f"{flag}: given {len(value)} times; give it once")
    if wrong:
        raise ConfigError(*wrong)


def _build(schema: type[Schema], values: Mapping[str, Any], label: Label) -> Schema:
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError(*problems(schema, values, error, label)) from error


def _dotted(key: Key) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def _join(where: str, path: str) -> str:
    return ": ".join(part for part in (where, path) if part)


def result_config(config: Config, *, horizon: bool = True) -> dict[str, Any]:
    """The part of a config that decides the result.

    References stay out, since the content of what they name counts instead, and so do cosmetic keys; with
    `horizon=False` also the keys that only say how long to go on.
    """
    outside = references(type(config))
    return {key: value for key, value in _decisive(config, horizon).items() if key not in outside}


def _decisive(config: BaseModel, horizon: bool) -> dict[str, Any]:
    dumped = config.model_dump(mode="json", by_alias=True)
    result: dict[str, Any] = {}
    for attribute, field in type(config).model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if extra.get("cosmetic") or (extra.get("horizon") and not horizon):
            continue
        value = getattr(config, attribute)
        name = field.alias or attribute
        result[name] = _decisive(value, horizon) if isinstance(value, BaseModel) else dumped[name]
    return result
