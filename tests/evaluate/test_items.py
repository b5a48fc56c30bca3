"""Items: read, asked, checked; nothing of an item depends on the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.evaluate.items import answer_items, majority_answers, majority_records, read_items
from exnihilo.evaluate.results import family_scores, item_scores
from exnihilo.infer.generate import generate
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.tokenizer import Tokenizer

MakeItem = Callable[..., dict[str, Any]]
WriteItems = Callable[[list[dict[str, Any]]], Path]


def ask(model: Decoder, tokenizer: Tokenizer, items: list[Any], batch: int = 8) -> list[dict[str, Any]]:
    return answer_items(model, tokenizer, items, batch=batch, max_new=6, seed=1)


def test_eval_1_a_limit_gives_the_first_of_the_full_run(
    model: Decoder, tokenizer: Tokenizer, examples: Path
) -> None:
    """Prompts, answers and verdicts of the first ten of a full run are those of `limit` 10, in any batch."""
    full = ask(model, tokenizer, read_items(examples))
    assert ask(model, tokenizer, read_items(examples, limit=10)) == full[:10]
    assert ask(model, tokenizer, read_items(examples)[::-1], batch=5) == full[::-1]
    assert len({record["output"] for record in full}) > 5, "a model that always says the same proves nothing"


def test_eval_1_an_items_seed_comes_from_its_id(
    model: Decoder, tokenizer: Tokenizer, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy answers draw nothing; whatever will, draws the same for an item in any selection and order."""
    given: list[dict[tuple[int, ...], int]] = []

    def spy(model: Any, prompts: list[list[int]], *rest: Any, seeds: list[int], **more: Any) -> Any:
        given.append(dict(zip(map(tuple, prompts), seeds, strict=True)))
        return generate(model, prompts, *rest, seeds=seeds, **more)

    monkeypatch.setattr("exnihilo.infer.generate.generate", spy)
    items = read_items(examples)
    for chosen in (items, items[:5], items[::-1]):
        ask(model, tokenizer, chosen)
    assert len(set(given[0].values())) == len(items)
    assert given[2] == given[0] and given[1].items() <= given[0].items()


def test_a_record_says_what_was_asked_and_answered(
    model: Decoder, tokenizer: Tokenizer, examples: Path
) -> None:
    record = ask(model, tokenizer, read_items(examples, limit=1))[0]
    assert list(record) == ["id", "family", "prompt", "answer", "output", "got", "correct", "finish"]
    assert record["prompt"] == "What is `0 + 1`?" and record["answer"] == "None"
    assert record["finish"] in ("stop", "length") and isinstance(record["correct"], bool)


def test_a_prompt_that_fills_the_context_is_counted_and_not_cut(
    model: Decoder, tokenizer: Tokenizer, item: MakeItem, write_items: WriteItems
) -> None:
    rows = [item(0, "sum", "1"), item(1, "sum", "1", question="long " * 200), item(2, "sum", "1")]
    advanced: list[int] = []
    records = answer_items(
        model, tokenizer, read_items(write_items(rows)), batch=2, max_new=4, seed=1, advance=advanced.append
    )
    assert [record["finish"] == "too long" for record in records] == [False, True, False]
    assert records[1]["correct"] is False and records[1]["output"] == ""
    assert sum(advanced) == 3


def test_turns_are_named_in_the_prompt_of_a_conversation(item: MakeItem, write_items: WriteItems) -> None:
    row = item(0, "sum", "1")
    row["messages"] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1?"}]
    assert read_items(write_items([row]))[0].prompt == "system: Be brief.\nuser: 1?"


def test_bad_items_are_refused_with_their_line(
    tmp_path: Path, item: MakeItem, write_items: WriteItems
) -> None:
    whole, without = item(0, "sum", "1"), item(1, "sum", "1")
    del without["verifier"]
    bad = {
        r"held_out\.jsonl:2: not an evaluation item: no verifier": [whole, without],
        r"held_out\.jsonl:2: item id 'sum-0' is already used in line 1": [whole, whole],
        r"held_out\.jsonl:1: not an evaluation item: messages": [{**whole, "messages": "What?"}],
        "holds no items": [],
    }
    for message, rows in bad.items():
        with pytest.raises(Refused, match=message):
            read_items(write_items(rows))
    with pytest.raises(Refused, match=r"held_out\.jsonl: not found"):
        read_items(tmp_path)
    (tmp_path / "held_out.jsonl").write_text('{"id": \n', encoding="utf-8")
    with pytest.raises(ExnihiloError, match=r"held_out\.jsonl:1"):
        read_items(tmp_path)


def test_the_majority_answer_comes_from_training_and_is_scored_on_held_out_items(examples: Path) -> None:
    """Ties go to the first in alphabetical order; 1 of 12 sums is 10, and all others are None."""
    answers = majority_answers(examples)
    assert answers == {"other": "None", "sum": "10"}
    scores = family_scores(majority_records(read_items(examples), answers))
    assert scores["other"]["value"] == 1 and scores["sum"]["value"] == pytest.approx(1 / 12)
    assert scores["sum"]["n"] == 12


def test_without_training_answers_there_is_no_majority(tmp_path: Path) -> None:
    assert majority_answers(tmp_path) == {}
    rows = '{"messages": []}\n{"messages": [], "meta": {"family": "sum"}}\n'
    (tmp_path / "train.jsonl").write_text(rows, encoding="utf-8")
    assert majority_answers(tmp_path) == {}


def test_scores_by_hand() -> None:
    """Macro over families, micro over items; what nobody can check is in neither."""
    answered = [("a", True), ("a", True), ("a", False), ("a", False), ("b", True), ("c", None), ("b", None)]
    records = [
        {"family": family, "correct": correct, "finish": "stop" if correct else "length"}
        for family, correct in answered
    ]
    scores = item_scores(records, ["b", "never asked"])
    assert scores["accuracy"]["value"] == pytest.approx((0.5 + 1) / 2) and scores["accuracy"]["n"] == 5
    assert scores["accuracy_items"]["value"] == pytest.approx(3 / 5)
    assert scores["accuracy/trained"]["value"] == 1 and scores["accuracy/trained"]["n"] == 1
    assert scores["ended"]["value"] == pytest.approx(3 / 7) and scores["ended"]["n"] == 7
    assert set(family_scores(records)) == {"a", "b"}
    unknown = [{"family": "c", "correct": None, "finish": "stop"}]
    assert set(item_scores(unknown, [])) == {"ended"}
