"""Tasks as data: templates, worked examples, Super-NaturalInstructions' files, mixing and holding out."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.examples.formats import read_conversations
from exnihilo.examples.part import STAGE, ConversationsConfig
from exnihilo.examples.task_mix import TaskMix
from exnihilo.examples.task_questions import question
from exnihilo.examples.tasks import Instance, natural_fault, read_tasks
from exnihilo.verify.check import check
from exnihilo.verify.questions import fault

MOODS = {
    "name": "moods",
    "cluster": "sentiment",
    "options": ["glad", "sad"],
    "templates": [
        {"input": "{text}\nHow does that sound?", "target": "{mood}"},
        {"input": "{options}\nWhich one fits? {text}", "target": "{mood}"},
        {"input": "Say something {mood}.", "target": "{text}", "inverted": True},
    ],
    "examples": [{"text": f"Line {n} of a song", "mood": ("glad", "sad")[n % 2]} for n in range(60)],
}
SUMS = {
    "name": "sums",
    "cluster": "arithmetic",
    "definition": "Add two numbers.",
    "templates": [{"input": "{a} + {b} = ?", "target": "{sum}"}],
    "examples": [{"a": n, "b": 2 * n, "sum": 3 * n} for n in range(200)],
}


def natural(count: int = 30, **more: Any) -> dict[str, Any]:
    """A task as Super-NaturalInstructions writes it."""
    return {
        "Categories": ["Textual Entailment"],
        "Definition": ["Say whether the second follows from the first."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Positive Examples": [
            {"input": f"Good {n}.", "output": "yes", "explanation": "It follows."} for n in range(3)
        ],
        "Negative Examples": [{"input": "Bad.", "output": "maybe", "explanation": "Not an answer."}],
        "Instances": [{"id": f"i{n}", "input": f"Premise {n}.", "output": ["yes"]} for n in range(count)],
        **more,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tasks"
    path.mkdir()
    (path / "a.yaml").write_text(yaml.safe_dump({"tasks": [MOODS, SUMS]}))
    (path / "task007_entailment.json").write_text(json.dumps(natural()))
    return path


def made(folder: Path, seed: int = 1, out: str = "out", **config: Any) -> Artifact:
    given = ConversationsConfig(examples="e", **config)
    return build(STAGE, given, {"examples": folder}, folder.parent / f"{out}-{seed}", seed=seed)


def rows(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(artifact.path / f"{name}.jsonl")]


def test_tasks_become_conversations_by_their_size_up_to_the_cap(folder: Path) -> None:
    artifact = made(folder, tasks=TaskMix(cap=100), held_out=19, validation=9)
    parts = {name: rows(artifact, name) for name in ("train", "validation", "held_out")}
    counts = Counter(row["meta"]["task"] for name in ("train", "validation") for row in parts[name])
    counts += Counter(row["id"].rpartition("-")[0] for row in parts["held_out"])
    assert counts == {"moods": 60, "sums": 100, "task007_entailment": 30}  # 200 sums are capped
    assert [len(parts[name]) for name in parts] == [162, 9, 19]
    assert artifact.manifest["metrics"] | {"left_out": {}} == {
        "train": 162, "validation": 9, "held_out": 19, "left_out": {},
    }  # fmt: skip
    families = [row["meta"]["family"] for row in parts["train"]]
    assert set(families[:40]) == {"sentiment", "arithmetic", "Textual Entailment"}, "tasks are mixed"
    for row in parts["held_out"]:
        assert fault(row, ("id", "answer")) is None
    assert all(row.problem is None for row in read_conversations(artifact.path / "train.jsonl"))


def test_no_instance_is_in_two_parts_nor_shown_to_training_from_another(folder: Path) -> None:
    artifact = made(folder, tasks=TaskMix(shots=[0, 2]), held_out=28, validation=14)
    train = json.dumps(rows(artifact, "train"))
    asked = [
        row["messages"][0]["content"].rpartition("\n\n")[2] + row["messages"][1]["content"]
        for row in rows(artifact, "validation")
    ]
    asked += [row["messages"][0]["content"].rpartition("\n\n")[2] for row in rows(artifact, "held_out")]
    parts = [{n for n in range(60) if f"Line {n} of" in text} for text in ("\n".join(asked), train)]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 60
    assert "Example 2:" in train and len(parts[0]) >= 8


def test_the_seed_alone_decides(folder: Path) -> None:
    settings = {"tasks": TaskMix(shots=[0, 1, 2])}
    one, again, other = (
        rows(made(folder, seed, out, **settings), "train") for seed, out in ((1, "a"), (1, "b"), (2, "a"))
    )
    assert one == again
    assert {row["messages"][0]["content"] for row in one} != {row["messages"][0]["content"] for row in other}


def test_a_cluster_is_held_out_whole_with_every_text_that_it_shares(folder: Path) -> None:
    copy = [{"input": "Repeat: {text}", "target": "{text}"}]
    shared = {**MOODS, "name": "echo", "cluster": "copying", "options": [], "templates": copy}
    shared["examples"] = [{"text": f"line {n}  of a SONG"} for n in range(50, 70)]
    (folder / "b.yaml").write_text(yaml.safe_dump(shared))
    artifact = made(folder, tasks=TaskMix(hold_out=["sentiment"]), held_out=20)
    train, held_out = rows(artifact, "train"), rows(artifact, "held_out")
    assert {row["meta"]["family"] for row in train} == {"copying", "arithmetic", "Textual Entailment"}
    assert {row["family"] for row in held_out} == {"sentiment"} and len(held_out) == 20
    kept = [row for row in train if row["meta"]["task"] == "echo"]
    assert len(kept) + sum("Repeat" in json.dumps(row) for row in rows(artifact, "validation")) == 10
    assert artifact.manifest["metrics"]["left_out"] == {"a text that a held-out task has, too": 10}
    assert "held out whole: moods" in "\n".join(artifact.manifest["lines"])
    # What is asked to compare models asks for the answer, and knows it.
    assert all(row["answer"] in ("glad", "sad") for row in held_out)
    assert all(check(row["verifier"], row["answer"]).correct for row in held_out)


def test_templates_are_used_alike_options_are_listed_and_some_are_turned_around(folder: Path) -> None:
    train = [row for row in rows(made(folder), "train") if row["meta"]["task"] == "moods"]
    used = Counter(row["meta"]["template"] for row in train)
    assert set(used) == {0, 1, 2} and min(used.values()) > len(train) / 6
    listed = "Options:\n- glad\n- sad"
    for row in train:
        asked, answer = (message["content"] for message in row["messages"])
        if row["meta"]["template"] == 0:
            assert asked.endswith(f"How does that sound?\n{listed}") and answer in ("glad", "sad")
        elif row["meta"]["template"] == 1:
            assert asked.startswith(f"{listed}\nWhich one fits? Line") and asked.count(listed) == 1
        else:
            assert asked in ("Say something glad.", "Say something sad.") and answer.startswith("Line")
        assert ("answer" in row["meta"]) is (row["meta"]["template"] < 2)


def test_a_natural_instruction_is_its_definition_its_examples_and_the_question(folder: Path) -> None:
    (task,) = [task for task in read_tasks(folder) if task.name == "task007_entailment"]
    asked = question(task, task.instances[4], random.Random(0), shots=[2], negatives=1, shown=[])
    assert asked.text == (
        "Say whether the second follows from the first.\n\n"
        "Example 1:\nGood 0.\nAnswer: yes\n\nExample 2:\nGood 1.\nAnswer: yes\n\n"
        "Wrong example 1:\nBad.\nAnswer: maybe\nWhy it is wrong: Not an answer.\n\n"
        "Premise 4.\nAnswer:"
    )
    assert (asked.answer, asked.shots, task.track, task.classes) == ("yes", 2, "english", True)
    zero = question(task, task.instances[4], random.Random(0), shots=[0], negatives=0, shown=[])
    assert zero.text == "Say whether the second follows from the first.\n\nPremise 4."


def test_a_task_is_shown_by_its_other_instances_never_by_the_one_that_is_asked(folder: Path) -> None:
    (task,) = [task for task in read_tasks(folder) if task.name == "sums"]
    shown = task.instances[:4]
    for n in range(20):
        asked = question(task, shown[1], random.Random(n), shots=[3], negatives=0, shown=shown)
        assert asked.text.count("1 + 2 = ?") == 1 and asked.text.endswith("\n\n1 + 2 = ?\nAnswer:")
        assert asked.shots == 3 and asked.answer == "3"
        assert "4 + 8 = ?\nAnswer: 12" not in asked.text  # not among those that may be shown


def test_several_accepted_answers_are_learned_from_and_accepted(folder: Path) -> None:
    given = natural(4, **{"Instances": [{"id": "1", "input": "x", "output": ["a (b)", "c"]}] * 2})
    (folder / "task007_entailment.json").write_text(json.dumps(given))
    (task,) = [task for task in read_tasks(folder) if task.name == "task007_entailment"]
    assert task.instances[0] == Instance({"input": "x", "output": "a (b)"}, answers=("a (b)", "c"))
    drawn = {
        question(task, task.instances[0], random.Random(n), shots=[0], negatives=0, shown=[]).answer
        for n in range(20)
    }
    assert drawn == {"a (b)", "c"}
    artifact = made(folder, tasks=TaskMix(hold_out=["task007_entailment"]))
    (item,) = rows(artifact, "held_out")  # the same instance twice is one
    verdicts = {text: check(item["verifier"], text).correct for text in ("a (b)", " c\n", "a b", "cc")}
    assert verdicts == {"a (b)": True, " c\n": True, "a b": False, "cc": False}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Definition": 3}, "Definition is no text and no list of texts"),
        ({"Categories": []}, "Categories is empty"),
        ({"Positive Examples": {}}, "Positive Examples is not a list"),
        ({"Positive Examples": [{"input": "x"}]}, "Positive Examples, number 1: no output"),
        ({"Negative Examples": [{"output": "x"}]}, "Negative Examples, number 1: no input"),
        (
            {"Positive Examples": [{"input": "x", "output": "y", "explanation": 1}]},
            "Positive Examples, number 1: explanation is no text",
        ),
        ({"Instances": []}, "Instances is empty"),
        ({"Instances": [{"input": "x", "output": [1]}]}, "Instances, number 1: no output"),
    ],
)
def test_what_is_no_natural_instruction_is_told(change: dict[str, Any], reason: str) -> None:
    assert natural_fault(natural()) is None
    assert natural_fault(natural(**change)) == reason
    for key in ("Definition", "Categories", "Positive Examples", "Instances"):
        assert natural_fault({k: v for k, v in natural().items() if k != key}) == f"no {key}"
    assert natural_fault([]) == "a list, not an object"


def test_other_languages_are_a_track_of_their_own(folder: Path) -> None:
    (folder / "x.json").write_text(json.dumps(natural(Output_language=["Polish"])))
    tracks = {task.name: task.track for task in read_tasks(folder)}
    assert tracks["x"] == "cross-lingual" and tracks["task007_entailment"] == "english"


def test_rows_may_lie_beside_and_bad_ones_are_left_out(folder: Path) -> None:
    good = [{"text": f"Song {n}", "mood": "glad"} for n in range(40)]
    bad = [{"text": "x", "mood": "grumpy"}, {"mood": "sad"}, {"text": True, "mood": "sad"}]
    write_jsonl(folder / "moods.jsonl", [*good, *bad])
    (folder / "a.yaml").write_text(yaml.safe_dump({**MOODS, "examples": "moods.jsonl"}))
    lines = "\n".join(made(folder).manifest["lines"])
    assert "left out: 1 × moods: 'grumpy' is none of the options (row 41)" in lines
    assert "left out: 1 × moods: no field text, which a template names (row 42)" in lines
    assert "left out: 1 × moods: text is true, not text; put it in quotes (row 43)" in lines
    with pytest.raises(ConfigError, match="give the folder of both"):
        made(folder / "a.yaml", out="alone")


@pytest.mark.parametrize(
    ("change", "config", "error"),
    [
        ({"templates": [{"input": "{text.x}", "target": "y"}]}, {}, r"\{text.x\} is no field"),
        ({"templates": [{"input": "{text", "target": "y"}]}, {}, r"templates\[0\]"),
        ({"templates": []}, {}, "templates"),
        ({"cluster": ""}, {}, "cluster"),
        ({"clusters": "x"}, {}, "clusters"),
        ({"options": [True, False]}, {}, "true or false is not allowed|options"),
        ({"examples": [{"text": "x"}]}, {}, "no example can be used: no field mood"),
        ({"name": "sums"}, {}, "two tasks are called 'sums'"),
        ({}, {"tasks": TaskMix(hold_out=["sentimant"])}, "did you mean sentiment"),
        (
            {},
            {"tasks": TaskMix(hold_out=["sentiment", "arithmetic", "Textual Entailment"])},
            "holds out every task",
        ),
    ],
)
def test_what_cannot_be_is_told(
    folder: Path, change: dict[str, Any], config: dict[str, Any], error: str
) -> None:
    (folder / "a.yaml").write_text(yaml.safe_dump({"tasks": [{**MOODS, **change}, SUMS]}))
    with pytest.raises((ConfigError, Refused), match=error):
        made(folder, **config)


def test_conversations_take_no_section_of_tasks(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    write_jsonl(path, [{"instruction": f"Say {n}.", "input": "", "output": "x"} for n in range(9)])
    with pytest.raises(Refused, match="no tasks with templates; leave the section tasks out"):
        made(path, tasks=TaskMix())
