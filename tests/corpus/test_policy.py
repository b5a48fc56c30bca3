"""Forbidden records among allowed ones, however they were derived."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from exnihilo.core.documents import Document
from exnihilo.core.errors import ConfigError
from exnihilo.corpus.policy import Inherited, Policy, inherit

RULES = """
all:
  sources: {deny: ["*/test-split", "leaked-*"]}
pretrain:
  licences: {allow: [CC0-1.0, CC-BY-*, MIT, Apache-2.0, GPL-3.0], deny: ["*-NC-*"]}
  generators: {deny: [gpt-*, closed/*]}
sft:
  licences: {deny: ["*-NC-*", GPL-3.0]}
  unknown: allow
"""
ALLOWED = [
    ("news/train", "CC-BY-4.0", ""),
    ("wiki", "cc-by-sa-4.0", ""),
    ("code", "MIT OR Proprietary", ""),
    ("code", "(GPL-3.0 AND MIT)", "templates"),
    ("notes on leaked-pipes", "CC0-1.0", "open/gpt-like"),
]
FORBIDDEN = [
    ("wiki", "CC-BY-NC-4.0", ""),
    ("wiki", "cc-by-nc-sa-4.0", ""),
    ("wiki", "All rights reserved", ""),
    ("wiki", "MIT AND Proprietary", ""),
    ("wiki", "Proprietary OR CC-BY-NC-4.0", ""),
    ("wiki", "", ""),
    ("wiki", "unknown", ""),
    ("wiki", "CC0-1.0", "GPT-4"),
    ("wiki", "CC0-1.0", "templates AND closed/model"),
    ("Leaked-Mails", "CC0-1.0", ""),
    ("wiki AND quiz/test-split", "CC0-1.0", ""),
]


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(RULES)
    return Policy.read(path)


def document(of: tuple[str, str, str] | Inherited, **meta: object) -> Document:
    if isinstance(of, Inherited):
        return Document("id", "text", of.source, of.licence, of.generator, {**of.meta, **meta})
    return Document("id", "text", *of, dict(meta))


def test_a_hundred_forbidden_records_planted_among_a_thousand(policy: Policy) -> None:
    draw = random.Random(1)
    allowed = [
        document(draw.choice(ALLOWED), **draw.choice([{}, {"permitted_use": ["sft", "pretrain"]}]))
        for _ in range(1000)
    ]
    planted = [document(draw.choice(FORBIDDEN)) for _ in range(80)]
    planted += [
        document(draw.choice(ALLOWED), permitted_use=draw.choice([[], ["evaluate"]])) for _ in range(20)
    ]
    for stage in range(4):  # rewritten, translated, joined: alone or with another record
        allowed = [
            document(inherit([one, draw.choice(allowed)])) if draw.random() < 0.5 else one for one in allowed
        ]
        if stage > 0:
            late = planted[: 25 * stage]
            planted[: 25 * stage] = [
                document(inherit(draw.sample([one, draw.choice(allowed)], 2))) for one in late
            ]
    assert sum(policy.check(one, "pretrain") is not None for one in planted) == 100
    assert [reason for one in allowed if (reason := policy.check(one, "pretrain"))] == []


def test_what_is_derived_is_permitted_where_its_parents_are(policy: Policy) -> None:
    draw = random.Random(2)
    uses = [None, ["pretrain"], ["sft"], ["sft", "pretrain"], []]
    for _ in range(300):
        parents = []
        for _ in range(draw.randint(1, 4)):
            stated = draw.choice(uses)
            meta = {} if stated is None else {"permitted_use": stated}
            parents.append(document(draw.choice(ALLOWED + FORBIDDEN), **meta))
        child = document(inherit(parents))
        assert document(inherit(parents[::-1])) == child == document(inherit([child]))
        for use in ("pretrain", "sft"):
            expected = all(policy.check(parent, use) is None for parent in parents)
            assert (policy.check(child, use) is None) == expected


def test_uses_differ(policy: Policy) -> None:
    gpl, unknown, made = (
        document(("a", "GPL-3.0", "")),
        document(("a", "", "")),
        document(("a", "MIT", "gpt-4")),
    )
    assert [policy.check(gpl, use) for use in ("pretrain", "sft")] == [None, "policy: licence GPL-3.0"]
    assert [policy.check(unknown, use) for use in ("pretrain", "sft")] == ["policy: licence unknown", None]
    assert [policy.check(made, use) for use in ("pretrain", "sft")] == ["policy: generator gpt-4", None]
    leaked = document(("leaked-x", "MIT", ""))
    assert policy.check(leaked, "sft") == policy.check(leaked, "anything") == "policy: source leaked-x"
    assert policy.check(document(("a", "MIT", ""), permitted_use=["evaluate"]), "sft") == (
        "policy: permitted for evaluate, not for sft"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a policy without rules"),
        ("pretrain: MIT", "pretrain: got 'MIT'"),
        ("pretrain: {licenses: {deny: [x]}}", "licenses"),
        ("pretrain: {unknown: maybe}", "unknown"),
    ],
)
def test_a_policy_that_is_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        Policy.read(path)


def test_a_use_without_rules_is_not_free(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("sft: {unknown: allow}")
    with pytest.raises(ConfigError, match="no rules for 'pretrain'"):
        Policy.read(path).check(document(("a", "MIT", "")), "pretrain")
