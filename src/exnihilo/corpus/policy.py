"""Permitted use: which records a policy lets into which use, and what is derived from records inherits from them.

A record carries its source, licence and generator; what it may be used for at all can be stated in
`meta["permitted_use"]`, a list of uses. Several licences, generators or sources of one record are joined by " AND ",
as SPDX writes it, and each of them must be allowed; of licences joined by " OR " one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field

from exnihilo.core.config import Config, read_yaml, validate, why
from exnihilo.core.documents import Document
from exnihilo.core.errors import ConfigError

PERMITTED_USE = "permitted_use"
EVERY_USE = "all"
_UNKNOWN = frozenset({"", "unknown", "other", "none", "noassertion"})


class Rule(Config):
    """Patterns (`*` stands for anything) that are matched whole and in either case. What is denied is denied even where
    it is allowed, too."""

    allow: list[str] | None = Field(
        default=None,
        description="what is allowed, and nothing else",
        json_schema_extra=why("null: everything that is not denied", example="CC0-1.0,CC-BY-4.0,Apache-2.0"),
    )
    deny: list[str] = Field(
        default=[],
        description="what is denied",
        json_schema_extra=why("nothing, until the policy says what is unwanted", example="*-NC-*,*-ND-*"),
    )


class UseRules(Config):
    """What one use asks of a record."""

    licences: Rule = Field(default_factory=Rule, description="rules of licences")
    generators: Rule = Field(
        default_factory=Rule, description="rules of the models and programs that wrote the text"
    )
    sources: Rule = Field(default_factory=Rule, description="rules of sources")
    unknown: Literal["allow", "deny"] | None = Field(
        default=None,
        description="what to do with a record of unknown licence",
        json_schema_extra=why(
            "null is what the rules of `all` say, and they deny it unless told: who writes a policy wants to know",
            example="allow",
        ),
    )


@dataclass(frozen=True)
class Inherited:
    """What a derived record takes over from its parents."""

    source: str
    licence: str
    generator: str
    meta: dict[str, list[str]]


class Policy:
    """The rules of each use; those of the use "all" hold besides."""

    def __init__(self, uses: Mapping[str, UseRules]) -> None:
        self._uses = dict(uses)

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Read a YAML file of uses: `pretrain: {licences: {deny: ["*-NC-*"]}}`. Raises ConfigError for any other."""
        uses = {}
        for use, rules in read_yaml(path).items():
            if not isinstance(rules, Mapping):
                raise ConfigError(
                    f"{path}: {use}: got {rules!r}; give licences, generators, sources or unknown"
                )
            uses[str(use)] = validate(UseRules, rules, where=f"{path}: {use}")
        if not uses:
            raise ConfigError(f"{path}: a policy without rules; name a use, such as pretrain, or all")
        return cls(uses)

    def check(self, document: Document, use: str) -> str | None:
        """Why a document is not permitted for a use, or None. Raises ConfigError for a use that has no rules."""
        rules = [self._uses[name] for name in (EVERY_USE, use) if name in self._uses]
        if not rules:
            raise ConfigError(f"the policy has no rules for '{use}' and none for 'all'; add either")
        permitted = document.meta.get(PERMITTED_USE)
        if permitted is not None and use not in permitted:
            return f"policy: permitted for {', '.join(sorted(permitted)) or 'nothing'}, not for {use}"
        unknown = next((one.unknown for one in reversed(rules) if one.unknown), "deny")
        return next((reason for one in rules if (reason := _violation(document, one, unknown))), None)


def inherit(parents: Sequence[Document]) -> Inherited:
    """Every source, licence and generator of the parents, and the uses that all of them permit: what is derived is
    permitted where each of its parents is."""
    permitted = [
        set(parent.meta[PERMITTED_USE]) for parent in parents if parent.meta.get(PERMITTED_USE) is not None
    ]
    return Inherited(
        source=_joined(parent.source for parent in parents),
        licence=_joined(parent.licence or "unknown" for parent in parents),
        generator=_joined(parent.generator for parent in parents),
        meta={PERMITTED_USE: sorted(set.intersection(*permitted))} if permitted else {},
    )


def _violation(document: Document, rules: UseRules, unknown: str) -> str | None:
    for licence in document.licence.split(" AND "):
        choices = [choice.strip(" ()") for choice in licence.split(" OR ")]
        if not any(
            unknown == "allow" if choice.lower() in _UNKNOWN else _allowed(choice, rules.licences)
            for choice in choices
        ):
            return f"policy: licence {licence.strip(' ()') or 'unknown'}"
    for kind, stated, rule in (
        ("generator", document.generator, rules.generators),
        ("source", document.source, rules.sources),
    ):
        for one in stated.split(" AND "):
            if one and not _allowed(one, rule):
                return f"policy: {kind} {one}"
    return None


def _allowed(value: str, rule: Rule) -> bool:
    if _matches(value, rule.deny):
        return False
    return rule.allow is None or _matches(value, rule.allow)


def _matches(value: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns)


def _joined(stated: Iterable[str]) -> str:
    return " AND ".join(sorted({part for one in stated for part in one.split(" AND ") if part}))
