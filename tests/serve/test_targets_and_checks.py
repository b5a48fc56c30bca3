from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exnihilo.core.errors import Refused
from exnihilo.serve.checks import check_answer
from exnihilo.serve.sessions import load
from exnihilo.serve.targets import find


def test_a_run_has_its_models_in_order_and_talks_to_the_aligned_one(run: Path) -> None:
    target = find(run)
    assert [(m.name, m.role) for m in target.models] == [
        ("base", "base"),
        ("sft", "sft"),
        ("aligned", "aligned"),
        ("longer", "sft"),
    ]
    assert target.last.name == "aligned"
    assert [m.name for m in target.line] == ["base", "sft", "aligned"]


def test_stages_under_way_are_left_out_and_the_last_model_stands_in(run: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(run, part, ignore=shutil.ignore_patterns("aligned", "longer"))
    (part / "aligned.partial").mkdir()
    assert [m.name for m in find(part).line] == ["base", "sft"]


def test_a_model_folder_is_a_target_with_the_questions_of_its_run(run: Path, endless: Path) -> None:
    target = find(run / "sft")
    assert [(m.name, m.role) for m in target.models] == [("sft", "sft")]
    assert len(target.items) == 4
    assert [(m.name, m.role) for m in find(endless).models] == [("endless", "model")]
    assert find(endless).questions() == []


def test_what_is_no_target_is_refused(run: Path, tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "absent", "no such folder"),
        (tmp_path, "no finished model"),
        (run / "questions", "an artifact of kind examples"),
    ]:
        with pytest.raises(Refused, match=message):
            find(path)


def test_questions_come_from_every_family_and_others_on_request(run: Path) -> None:
    target = find(run)
    few = target.questions(count=2)
    assert [q["family"] for q in few] == ["module", "arithmetic"]
    assert target.questions(count=2) == few
    assert any(target.questions(draw, count=2) != few for draw in range(1, 6))
    assert len(target.questions()) == 4


def test_answers_are_checked_by_the_held_out_item(run: Path) -> None:
    items = find(run).items
    question = "Which module defines `join`?"
    right = check_answer(question, "It is in `os.path`.", items)
    assert (right.status, right.expected, right.got, right.by) == (
        "correct",
        "os.path",
        "os.path",
        "held-out",
    )
    wrong = check_answer(f" {question}\n", "`sys`", items)
    assert (wrong.status, wrong.expected, wrong.got) == ("incorrect", "os.path", "sys")
    broken = {question: {"answer": "x", "verifier": {"kind": "unheard of", "value": "x"}}}
    assert check_answer(question, "x", broken).status == "unchecked"
    assert check_answer("How are you?", "Fine.", items).status == "unchecked"


def test_other_questions_are_checked_by_the_interpreter() -> None:
    question = "What does `[2, 3][0] * 7` evaluate to?"
    right = check_answer(question, "It is `14`.", {})
    assert (right.status, right.expected, right.by) == ("correct", "14", "interpreter")
    assert check_answer(question, "`21`", {}).status == "incorrect"
    unknown = {"A secret?": {"answer": "I don't know.", "verifier": {"kind": "unknown"}}}
    assert check_answer("A secret?", "I don't know.", unknown).status == "correct"
    assert check_answer("A secret?", "Yes.", unknown).expected == "I don't know."


def test_a_tokenizer_of_another_model_is_refused(run: Path, tmp_path: Path) -> None:
    from exnihilo.model.config import DecoderConfig
    from exnihilo.model.decoder import Decoder
    from exnihilo.model.folder import save_model

    small = Decoder(
        DecoderConfig(
            vocab_size=300, width=16, depth=1, heads=1, kv_heads=1, head_dim=16, hidden=16, max_length=32
        )
    )
    save_model(small, run / "base", tmp_path / "mixed")
    with pytest.raises(Refused, match="ids, the model 300; put back"):
        load(tmp_path / "mixed")
