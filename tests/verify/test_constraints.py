"""Constraints under IFEval's names, each with a reply that keeps it and one that just does not; JSON schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exnihilo.verify.check import check
from exnihilo.verify.constraints import CONSTRAINTS, follows, sentences
from exnihilo.verify.questions import verifier_fault

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["fox", "dog"]}, "A Fox and a dog.", "A fox."),
    ("keywords:frequency", {"keyword": "a", "frequency": 2, "relation": "at least"}, "a b a", "a b"),
    ("keywords:frequency", {"keyword": "x", "frequency": 2, "relation": "less than"}, "x", "x x"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "A catalogue.", "A Cat."),
    ("keywords:letter_frequency", {"letter": "z", "let_frequency": 2, "let_relation": "at least"}, "Zz", "z"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "a b c", "a b"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "a b", "a b c"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "A. B!", "A 2.5 B."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n***\nb\n***\nc"),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Hello"},
     "a\n\n\"Hello, b", "a\n\nb Hello"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [town]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP.P.S more", "Bye. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n* b\n* c"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "Maybe."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b*", "*a* and b"),
    ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}, "Part 1 a Part 2 b",
     "Part 1 a"),
    ("detectable_format:json_format", {}, "```json\n{\"a\": 1}\n```", "{a: 1}"),
    ("detectable_format:title", {}, "<<A poem>>\nwords", "<A poem>"),
    ("combination:two_responses", {}, "one ****** other", "one ****** one"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. It.", "It. Say it."),
    ("startend:end_checker", {"end_phrase": "Is that all?"}, "No. is that all?", "Is that all? No."),
    ("startend:quotation", {}, '"all of it"', '"some" of it'),
    ("change_case:english_capital", {}, "LOUD 1", "Loud"),
    ("change_case:english_lowercase", {}, "quiet 1", "Quiet"),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "AN OX", "An OX"),
    ("punctuation:no_comma", {}, "a; b", "a, b"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "good", "bad"), CASES, ids=[f"{one[0]}-{n}" for n, one in enumerate(CASES)]
)
def test_a_constraint_is_kept_or_just_not(name: str, given: dict[str, Any], good: str, bad: str) -> None:
    assert follows(good, [name], [given]) is True
    assert follows(bad, [name], [given]) is False
    assert follows("  ", [name], [given]) is False


def test_every_constraint_has_a_case() -> None:
    assert {one[0] for one in CASES} == {*CONSTRAINTS}


def test_all_must_be_kept_and_one_that_is_not_known_says_nothing() -> None:
    two = ["punctuation:no_comma", "change_case:english_lowercase"]
    assert follows("a b", two, [{}, {}]) is True and follows("A b", two, [{}, {}]) is False
    assert follows("a b", ["language:response_language"], [{"language": "de"}]) is None


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("One", 1), ("One. Two? Three!", 3), ("v1.2 is out.", 1), ("一。二。", 2)]
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert sentences(text) == count


def test_verifiers_of_constraints_and_schemas() -> None:
    wanted = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    verifier = {"kind": "constraints", "value": json.dumps(wanted)}
    assert verifier_fault(verifier) is None
    assert (
        check(verifier, "so " * 2000).correct is True and check(verifier, "so " * 2000 + ",").correct is False
    )
    schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
    verifier = {"kind": "schema", "value": json.dumps(schema)}
    assert verifier_fault(verifier) is None
    for reply, correct in (
        ('{"age": 3}', True),
        ('Here:\n```json\n{"age": 3}\n```\nDone.', True),
        ('{"age": -3}', False),
        ("age: 3", False),
        ("[" * 10_000, False),
    ):
        assert check(verifier, reply).correct is correct


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("{", "schema", "needs JSON as value"),
        ('{"type": "many"}', "schema", "is not valid under any of the given schemas"),
        ('{"instruction_id_list": ["a:b"], "kwargs": [{}]}', "constraints", "no constraint 'a:b'"),
        ('{"instruction_id_list": ["punctuation:no_comma"]}', "constraints", "lists of one length"),
    ],
)
def test_what_can_not_be_checked_is_told(value: str, kind: str, said: str) -> None:
    assert said in (verifier_fault({"kind": kind, "value": value}) or "")
